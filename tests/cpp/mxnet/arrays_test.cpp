// MXNet's arrays, as the core makes them and looks into them.

#include <cstring>
#include <thread>
#include <vector>

#include "fastprop/mxnet/csr_array.hpp"
#include "fastprop/mxnet/ndarray.hpp"
#include "predict/fake_mxnet.hpp"
#include "testing.hpp"

namespace {

using namespace fastprop;
using namespace fastprop::mxnet;
using testing::fake_mxnet;

struct Type {
  DType dtype;
  std::int64_t size;
  std::uint32_t code;  // of DLPack: 0 signed, 1 unsigned, 2 floating
};

constexpr Type kTypes[] = {
    {DType::kFloat16, 2, 2}, {DType::kFloat32, 4, 2}, {DType::kFloat64, 8, 2},
    {DType::kUint8, 1, 1},   {DType::kInt8, 1, 0},    {DType::kInt32, 4, 0},
    {DType::kInt64, 8, 0},
};

// On a thread of its own, which the fake takes for a worker.
template <typename Function>
void on_a_thread(const Function& function) {
  fake_mxnet();
  std::thread(function).join();
  CHECK(fake_mxnet().handles.load() == 0, "%d handles leak", fake_mxnet().handles.load());
}

TEST(arrays, types_are_told_to_dlpack) {
  on_a_thread([] {
    const std::vector<std::int64_t> memory(6, 3);
    for (const Type& type : kTypes) {
      CHECK(element_size(type.dtype) == type.size, "size of %d", static_cast<int>(type.dtype));
      const OwnedNDArray array = wrap_dense({2, 3}, type.dtype, memory.data());
      const auto wanted = type.code | static_cast<std::uint32_t>(8 * type.size) << 8 | 1U << 16;
      CHECK(fake_mxnet().wrapped_type.load() == wanted, "type %d", static_cast<int>(type.dtype));
      CHECK(data_of(array) == memory.data(), "wrapped, not copied");
      CHECK((shape_of(array.get()) == Shape{2, 3}), "shape");
    }
  });
}

TEST(arrays, an_unknown_type_is_refused) {
  CHECK(testing::throws(ErrorKind::kEngine, [] { element_size(static_cast<DType>(99)); }), "99");
}

TEST(arrays, copies_hold_what_was_copied) {
  on_a_thread([] {
    const std::vector<float> values{1, 2, 3, 4, 5, 6};
    const OwnedNDArray dense = copy_dense({3, 2}, DType::kFloat32, values.data());
    const OwnedNDArray rows = copy_full_row_sparse({3, 2}, DType::kFloat32, values.data());
    for (const OwnedNDArray* array : {&dense, &rows}) {
      CHECK(std::memcmp(data_of(*array), values.data(), 24) == 0, "values");
      CHECK(dtype_of(array->get()) == DType::kFloat32, "type");
    }
    const OwnedNDArray empty = copy_dense({0, 2}, DType::kFloat32, nullptr);
    const OwnedNDArray no_rows = copy_full_row_sparse({0, 2}, DType::kFloat32, nullptr);
    CHECK((shape_of(no_rows.get()) == Shape{0, 2}), "shape of nothing");
    const OwnedNDArray scalar = make_dense({}, DType::kFloat32);
    CHECK(shape_of(scalar.get()).empty() && element_count({}) == 1, "one element without axes");
  });
}

TEST(arrays, csr_arrays_of_another_layout_are_not_looked_into) {
  on_a_thread([] {
    const CsrArray known(4, 9, 5);
    void* const values = [&] {
      void* data = nullptr;
      FASTPROP_MXNET(MXNDArrayGetData, known.handle(), &data);
      return data;
    }();
    CHECK(find_csr_aux(known.handle(), values, 5, 5).indices != nullptr, "as it is");
    CHECK(find_csr_aux(known.handle(), values, 6, 5).indices == nullptr, "another indptr");
    CHECK(find_csr_aux(known.handle(), values, 5, 4).indices == nullptr, "other indices");
    CHECK(find_csr_aux(known.handle(), &known, 5, 5).indices == nullptr, "other values");
    fake_mxnet().known_layout.store(false);
    const CsrArray unknown(4, 9, 5);
    fake_mxnet().known_layout.store(true);
    const OwnedNDArray dense = make_dense({4, 9}, DType::kFloat32);
    CHECK(find_csr_aux(dense.get(), data_of(dense), 5, 5).indices == nullptr, "no CSR array");
  });
}

}  // namespace
