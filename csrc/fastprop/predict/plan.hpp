// What a native engine runs: steps over named places, and the tensors that they read. A plan may
// come from a file, so nothing in it is trusted before `make_step` has looked at it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fastprop/predict/engine.hpp"

namespace fastprop {

enum class Place : std::uint8_t {
  kRows,     // the rows themselves
  kFurther,  // a further input
  kSlot,     // scratch of the session
  kScores,   // the result, in the caller's array where it asked for whole scores
};

// Columns [first, first + width) of a place, for every row of a tile.
struct Operand {
  Place place = Place::kRows;
  std::int64_t number = 0;  // of the slot or further input
  std::int64_t stride = 0;  // of a slot: elements from one row to the next. Others have their own.
  std::int64_t first = 0;
  std::int64_t width = 0;

  bool shares_memory_with(const Operand& other) const noexcept {
    return place == other.place && number == other.number;
  }
  // Whether the rows follow each other without a gap.
  bool is_compact() const noexcept { return place == Place::kSlot && width == stride; }
};

struct Tensor {
  enum class Type : std::uint8_t { kFloat32, kBfloat16, kInt32, kInt8 };

  const void* data = nullptr;  // borrowed
  Type type = Type::kFloat32;
  std::vector<std::int64_t> shape;

  std::int64_t size() const noexcept {
    std::int64_t n = 1;
    for (const std::int64_t extent : shape) n *= extent;
    return n;
  }
  std::size_t n_bytes() const noexcept {
    const std::size_t width = type == Type::kInt8 ? 1 : type == Type::kBfloat16 ? 2 : 4;
    return static_cast<std::size_t>(size()) * width;
  }
};

struct StepSpec {
  std::string name;      // of the node, for messages
  std::string op;        // what is done, see steps/make_step.cpp
  std::string function;  // which function of its kind, or which activation comes last
  std::vector<Operand> inputs;
  Operand output;
  std::map<std::string, Tensor> tensors;
  std::map<std::string, double> numbers;
};

struct Plan {
  RowsSpec rows;
  std::vector<FurtherSpec> further;
  std::vector<std::int64_t> slots;  // elements a row
  std::vector<StepSpec> steps;      // in order
  std::int64_t n_scores = 0;
};

}  // namespace fastprop
