// Packing of dense layers, rounding to bf16 and int8: done once, when a model is loaded.

#include <cmath>
#include <cstring>
#include <limits>

#include "fastprop/kernels/kernels.hpp"

namespace fastprop::kernels {
namespace {

std::uint16_t to_bf16(float x) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof x);
  const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
  const std::uint32_t rounded = bits + 0x7FFFU + (bits >> 16 & 1U);
  return static_cast<std::uint16_t>((nan ? bits | 0x00400000U : rounded) >> 16);
}

void pack_panel_float32(const float* weight, std::size_t stride, std::size_t inputs,
                        std::size_t columns, float* panel) {
  for (std::size_t k = 0; k < inputs; ++k, panel += kPanelColumns) {
    for (std::size_t c = 0; c < kPanelColumns; ++c) {
      panel[c] = c < columns ? weight[c * stride + k] : 0.0F;
    }
  }
}

void pack_panel_bf16(const float* weight, std::size_t stride, std::size_t inputs,
                     std::size_t columns, std::uint16_t* panel) {
  for (std::size_t k = 0; k < inputs; k += 2, panel += 2 * kPanelColumns) {
    for (std::size_t c = 0; c < kPanelColumns; ++c) {
      for (std::size_t i = 0; i < 2; ++i) {
        const bool inside = c < columns && k + i < inputs;
        panel[2 * c + i] = inside ? to_bf16(weight[c * stride + k + i]) : std::uint16_t{0};
      }
    }
  }
}

// The step in which a column is told; 0 for zeros, NaN where a weight is not finite.
float column_step(const float* weight, std::size_t inputs) {
  float greatest = 0.0F;
  for (std::size_t k = 0; k < inputs; ++k) {
    if (!std::isfinite(weight[k])) return std::numeric_limits<float>::quiet_NaN();
    greatest = std::fmax(greatest, std::fabs(weight[k]));
  }
  const float step = greatest / 127.0F;
  return step < std::numeric_limits<float>::min() ? 0.0F : step;
}

void pack_panel_int8(const float* weight, std::size_t stride, std::size_t inputs,
                     std::size_t columns, char* panel) {
  std::memset(panel, 0, (2 + (inputs + 3) / 4) * kPanelColumns * 4);
  for (std::size_t c = 0; c < columns; ++c) {
    const float* const row = weight + c * stride;
    const float step = column_step(row, inputs);
    std::int32_t sum = 0;
    for (std::size_t k = 0; k < inputs && step > 0.0F; ++k) {
      const auto whole = static_cast<std::int8_t>(std::nearbyint(row[k] / step));
      sum += whole;
      panel[((2 + k / 4) * kPanelColumns + c) * 4 + k % 4] = static_cast<char>(whole);
    }
    std::memcpy(panel + c * 4, &step, sizeof step);
    std::memcpy(panel + (kPanelColumns + c) * 4, &sum, sizeof sum);
  }
}

std::size_t panel_bytes(WeightType type, std::size_t inputs) {
  switch (type) {
    case WeightType::kFloat32:
      break;
    case WeightType::kBfloat16:
      return (inputs + 1) / 2 * kPanelColumns * 4;
    case WeightType::kInt8:
      return (2 + (inputs + 3) / 4) * kPanelColumns * 4;
  }
  return inputs * kPanelColumns * 4;
}

}  // namespace

std::size_t packed_dense_bytes(WeightType type, std::size_t inputs, std::size_t outputs) noexcept {
  return (outputs + kPanelColumns - 1) / kPanelColumns * panel_bytes(type, inputs);
}

void pack_dense(WeightType type, const float* weight, std::size_t weight_stride, std::size_t inputs,
                std::size_t outputs, void* panels) noexcept {
  auto* panel = static_cast<char*>(panels);
  for (std::size_t first = 0; first < outputs; first += kPanelColumns) {
    const float* const rows = weight + first * weight_stride;
    const std::size_t left = outputs - first;
    const std::size_t columns = left < kPanelColumns ? left : kPanelColumns;
    if (type == WeightType::kFloat32) {
      pack_panel_float32(rows, weight_stride, inputs, columns, reinterpret_cast<float*>(panel));
    } else if (type == WeightType::kInt8) {
      pack_panel_int8(rows, weight_stride, inputs, columns, panel);
    } else {
      pack_panel_bf16(rows, weight_stride, inputs, columns,
                      reinterpret_cast<std::uint16_t*>(panel));
    }
    panel += panel_bytes(type, inputs);
  }
}

void round_to_bf16(const float* in, std::size_t n, std::uint16_t* out) noexcept {
  for (std::size_t i = 0; i < n; ++i) out[i] = to_bf16(in[i]);
}

}  // namespace fastprop::kernels
