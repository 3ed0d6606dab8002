// The making of a screen, and the bound of its error: what rounding the weights and the row to bf16
// loses, by the inequality of Cauchy and Schwarz, and what 32-bit sums lose, by the usual bound of
// (terms * 2^-24) of the terms' sizes, here and in the exact product.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "fastprop/kernels/kernels.hpp"

namespace fastprop::kernels {
namespace {

void unpack(const DenseLayer& layer, float* weight) {
  const auto* panel = static_cast<const float*>(layer.panels);
  for (std::size_t c = 0; c < layer.outputs; ++c) {
    const float* const from =
        panel + c / kPanelColumns * layer.inputs * kPanelColumns + c % kPanelColumns;
    for (std::size_t k = 0; k < layer.inputs; ++k) {
      weight[c * layer.inputs + k] = from[k * kPanelColumns];
    }
  }
}

double through_bf16(float x) {
  std::uint16_t half = 0;
  round_to_bf16(&x, 1, &half);
  const std::uint32_t bits = std::uint32_t{half} << 16;
  float rounded = 0.0F;
  std::memcpy(&rounded, &bits, sizeof rounded);
  return double{rounded};
}

float above(double x) { return static_cast<float>(x * 1.001); }

// NaN counts as greater.
void raise(double& greatest, double x) {
  if (!(x <= greatest)) greatest = x;
}

}  // namespace

DenseScreen make_screen(const DenseLayer& layer, void* panels, float* weight) noexcept {
  unpack(layer, weight);
  pack_dense(WeightType::kBfloat16, weight, layer.inputs, layer.inputs, layer.outputs, panels);
  double lost = 0.0;
  double norm = 0.0;
  double rounded_norm = 0.0;
  double element = 0.0;
  double bias = 0.0;
  for (std::size_t c = 0; c < layer.outputs; ++c) {
    double squares[3] = {};
    for (std::size_t k = 0; k < layer.inputs; ++k) {
      const double w = double{weight[c * layer.inputs + k]};
      const double rounded = through_bf16(weight[c * layer.inputs + k]);
      squares[0] += (w - rounded) * (w - rounded);
      squares[1] += w * w;
      squares[2] += rounded * rounded;
      raise(element, std::fabs(w));
    }
    raise(lost, std::sqrt(squares[0]));
    raise(norm, std::sqrt(squares[1]));
    raise(rounded_norm, std::sqrt(squares[2]));
    if (layer.bias != nullptr) raise(bias, std::fabs(double{layer.bias[c]}));
  }
  const auto terms = static_cast<double>(layer.inputs + 2);
  // 2 * terms roundings in tiles, terms in the exact product, and a little more.
  const double of_sums = 5.0 * terms * 0x1p-24;
  // What is below the normal numbers counts as zero in tiles.
  const double flushed = 4.0 * terms * 0x1p-126 * (1.0 + element);
  return {panels, weight, above(lost + of_sums * norm), above(rounded_norm),
          above(of_sums * bias + flushed + 0x1p-120)};
}

}  // namespace fastprop::kernels
