// Packing of dense layers and rounding to bf16: done once, when a model is loaded.

#include <cstring>

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

std::size_t panel_bytes(WeightType type, std::size_t inputs) {
  return type == WeightType::kFloat32 ? inputs * kPanelColumns * 4
                                      : (inputs + 1) / 2 * kPanelColumns * 4;
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
