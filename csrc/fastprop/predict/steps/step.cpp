#include "fastprop/predict/steps/step.hpp"

#include <variant>

namespace fastprop {

ConstMatrix TileRun::read(const Operand& operand) const {
  const auto of_view = [&](const DenseView& view) {
    return ConstMatrix{view.row(tile.first) + operand.first, view.stride};
  };
  switch (operand.place) {
    case Place::kRows:
      return of_view(std::get<DenseView>(tile.rows));
    case Place::kFurther:
      return of_view(tile.further[static_cast<std::size_t>(operand.number)]);
    case Place::kSlot:
    case Place::kScores:
      break;
  }
  const Matrix written = write(operand);
  return {written.data, written.stride};
}

Matrix TileRun::write(const Operand& operand) const {
  if (operand.place == Place::kScores) return {scores.data + operand.first, scores.stride};
  return {slots[static_cast<std::size_t>(operand.number)] + operand.first, operand.stride};
}

}  // namespace fastprop
