#include "bindings.hpp"

#include <optional>
#include <vector>

#include "fastprop/error.hpp"
#include "fastprop/predict/predictor.hpp"
#include "pending.hpp"

namespace fastprop::bindings {

namespace {

// Rows as Python gives them: (indptr, indices, values, n_columns, checked), or a dense matrix.
RowsView parse_rows(const py::object& rows) {
  if (!py::isinstance<py::tuple>(rows)) {
    return parse_dense(rows.cast<py::array>(), "rows");
  }
  const auto parts = rows.cast<py::tuple>();
  const auto indptr = parts[0].cast<py::array>();
  const auto indices = parts[1].cast<py::array>();
  const auto values = parts[2].cast<py::array>();
  CsrView view;
  view.indptr = parse_indices(indptr, "rows.indptr");
  view.indices = parse_indices(indices, "rows.indices");
  view.values = parse_values(values, "rows.data");
  view.n_rows = indptr.size() - 1;
  view.n_columns = parts[3].cast<std::int64_t>();
  view.n_entries = indices.size();
  view.checked = parts[4].cast<bool>();
  if (view.n_rows < 0) {
    throw Error(ErrorKind::kShape, "rows.indptr is empty: it has one element more than rows");
  }
  if (values.size() != indices.size()) {
    throw Error(ErrorKind::kShape, "rows.indices has " + std::to_string(indices.size()) +
                                       " elements and rows.data has " +
                                       std::to_string(values.size()));
  }
  return view;
}

std::vector<DenseView> parse_further(const std::vector<py::array>& further) {
  std::vector<DenseView> views;
  for (const py::array& array : further) views.push_back(parse_dense(array, "inputs"));
  return views;
}

// Elements from row to row of `out`, which may be a view whose rows lie apart; its columns lie
// together. ShapeError where it is not of this type and shape.
std::int64_t check_out(const py::array& out, const py::dtype& dtype, std::int64_t n_rows,
                       std::int64_t width) {
  const py::ssize_t element = dtype.itemsize();
  const bool right = out.ndim() == 2 && out.shape(0) == n_rows && out.shape(1) == width &&
                     out.dtype().equal(dtype) &&
                     (out.size() == 0 || width == 1 || out.strides(1) == element) &&
                     (n_rows <= 1 || width == 0 ||
                      (out.strides(0) % element == 0 &&
                       out.strides(0) >= element * static_cast<py::ssize_t>(width)));
  if (!right) {
    throw Error(ErrorKind::kShape, "out must be a " + std::string(py::str(dtype)) +
                                       " array of shape (" + std::to_string(n_rows) + ", " +
                                       std::to_string(width) + ") whose rows are contiguous");
  }
  if (!out.writeable()) throw Error(ErrorKind::kInvalidInput, "out is read-only");
  if (reinterpret_cast<std::uintptr_t>(out.data()) % static_cast<std::size_t>(dtype.alignment())) {
    throw Error(ErrorKind::kInvalidInput, "out is not aligned to its elements");
  }
  return n_rows > 1 ? out.strides(0) / element : width;
}

// A compact matrix that may be written to.
bool is_matrix(const py::array& array, std::int64_t n_rows, std::int64_t width) {
  return array.ndim() == 2 && array.shape(0) == n_rows && array.shape(1) == width &&
         (array.flags() & py::array::c_style) != 0 && array.writeable();
}

ScoreOutput parse_out(py::array& out, std::int64_t n_rows, std::int64_t n_scores) {
  const std::int64_t stride = check_out(out, py::dtype::of<float>(), n_rows, n_scores);
  return {static_cast<float*>(out.mutable_data()), stride};
}

std::unique_ptr<Pending> start(Predictor& predictor, Request request, py::object owner) {
  Started started = predictor.start(std::move(request));
  return std::make_unique<Pending>(std::move(started.job), started.wait_slot, std::move(owner));
}

Request score_request(const Predictor& predictor, const py::object& rows,
                      const std::vector<py::array>& further, py::array& out,
                      std::int64_t first_row) {
  Request request;
  request.rows = parse_rows(rows);
  request.further = parse_further(further);
  request.output = parse_out(out, row_count(request.rows), predictor.engine().n_scores());
  request.first_row = first_row;
  return request;
}

std::unique_ptr<Pending> start_scores(Predictor& predictor, const py::object& rows,
                                      const std::vector<py::array>& further, py::array out,
                                      std::int64_t first_row) {
  return start(predictor, score_request(predictor, rows, further, out, first_row),
               py::make_tuple(rows, further, out));
}

// start_scores and wait in one: the caller's references outlive the request.
void score(Predictor& predictor, const py::object& rows, const std::vector<py::array>& further,
           py::array out, std::int64_t first_row) {
  Started started = predictor.start(score_request(predictor, rows, further, out, first_row));
  Pending(std::move(started.job), started.wait_slot, py::none()).wait();
}

// `address` is that of a PostprocessFunction; `width` is nothing where it works in place. `owner`
// keeps it alive until the request has ended.
std::unique_ptr<Pending> start_postprocessed(Predictor& predictor, const py::object& rows,
                                             const std::vector<py::array>& further, py::array out,
                                             std::uintptr_t address, std::uintptr_t data,
                                             std::optional<std::int64_t> width,
                                             const py::object& owner, std::int64_t first_row) {
  if (address == 0) throw Error(ErrorKind::kInvalidInput, "the function's address is null");
  Request request;
  request.rows = parse_rows(rows);
  request.further = parse_further(further);
  request.first_row = first_row;
  PostprocessOutput output;
  output.function = reinterpret_cast<PostprocessFunction>(address);
  output.data = reinterpret_cast<void*>(data);
  output.in_place = !width;
  output.stride = check_out(out, width ? out.dtype() : py::dtype::of<float>(),
                            row_count(request.rows), width.value_or(predictor.engine().n_scores()));
  output.element = static_cast<std::size_t>(out.itemsize());
  output.out = static_cast<std::byte*>(out.mutable_data());
  output.first_row = first_row;
  request.output = output;
  return start(predictor, std::move(request), py::make_tuple(rows, further, out, owner));
}

std::unique_ptr<Pending> start_top_k(Predictor& predictor, const py::object& rows,
                                     const std::vector<py::array>& further,
                                     py::array_t<float> scores, py::array_t<std::int32_t> indices,
                                     std::optional<float> threshold,
                                     std::optional<py::array> thresholds,
                                     std::optional<py::array> allowed, std::int64_t first_row) {
  Request request;
  request.rows = parse_rows(rows);
  request.further = parse_further(further);
  request.first_row = first_row;
  const std::int64_t n_rows = row_count(request.rows);
  const std::int64_t n_scores = predictor.engine().n_scores();
  const std::int64_t k = scores.ndim() == 2 ? scores.shape(1) : 0;
  if (k < 1 || !is_matrix(scores, n_rows, k) || !is_matrix(indices, n_rows, k)) {
    throw Error(ErrorKind::kShape,
                "scores and indices must be compact arrays of shape (rows, k), k >= 1");
  }
  TopKOutput output;
  output.rule.k = static_cast<std::size_t>(k);
  output.rule.has_threshold = threshold.has_value();
  output.rule.threshold = threshold.value_or(0.0F);
  if (thresholds) {
    output.rule.thresholds = parse_floats(*thresholds, "threshold");
    if (thresholds->size() != n_scores) {
      throw Error(ErrorKind::kShape, "threshold must have one element a label");
    }
  }
  if (allowed) {
    if (allowed->ndim() != 1 || allowed->size() != n_scores || allowed->itemsize() != 1 ||
        (allowed->flags() & py::array::c_style) == 0) {
      throw Error(ErrorKind::kShape, "allowed must be a bool array of one element a label");
    }
    output.rule.allowed = static_cast<const std::uint8_t*>(allowed->data());
  }
  output.scores = scores.mutable_data();
  output.indices = indices.mutable_data();
  request.output = output;
  return start(predictor, std::move(request),
               py::make_tuple(rows, further, scores, indices, thresholds, allowed));
}

std::unique_ptr<Pending> start_check(Predictor& predictor, const py::object& rows,
                                     const std::vector<py::array>& further,
                                     std::int64_t first_row) {
  Request request;
  request.rows = parse_rows(rows);
  request.further = parse_further(further);
  request.first_row = first_row;
  Started started = predictor.start_check(std::move(request));
  return std::make_unique<Pending>(std::move(started.job), started.wait_slot,
                                   py::make_tuple(rows, further));
}

py::dict stats(const Predictor& predictor) {
  const PredictorStats stats = predictor.stats();
  py::dict answer;
  answer["calls"] = stats.calls;
  answer["rows"] = stats.rows;
  answer["tiles"] = stats.tiles;
  answer["bytes_copied"] = stats.bytes_copied;
  answer["check_seconds"] = stats.check_seconds;
  answer["fill_seconds"] = stats.fill_seconds;
  answer["sparse_seconds"] = stats.sparse_seconds;
  answer["graph_seconds"] = stats.graph_seconds;
  answer["deliver_seconds"] = stats.deliver_seconds;
  answer["pool_limit"] = stats.pool.limit;
  answer["pool_owned"] = stats.pool.owned;
  answer["pool_live"] = stats.pool.live;
  answer["pool_peak"] = stats.pool.peak;
  answer["pool_reused"] = stats.pool.reused;
  answer["pool_missed"] = stats.pool.missed;
  return answer;
}

}  // namespace

void register_predictor(py::module_& module) {
  py::class_<Predictor>(module, "Predictor")
      .def(py::init([](std::shared_ptr<Engine> engine, int threads, std::int64_t batch_size,
                       std::uint64_t pool_limit, bool finite, const std::string& isa) {
             return std::make_unique<Predictor>(
                 std::move(engine),
                 PredictorOptions{threads, batch_size, pool_limit, finite, parse_isa(isa)});
           }),
           py::arg("engine"), py::kw_only(), py::arg("threads"), py::arg("batch_size"),
           py::arg("pool_limit"), py::arg("finite"), py::arg("isa"))
      .def("score", &score, py::arg("rows"), py::arg("further"), py::arg("out"),
           py::arg("first_row"))
      .def("start_scores", &start_scores, py::arg("rows"), py::arg("further"), py::arg("out"),
           py::arg("first_row"))
      .def("start_postprocessed", &start_postprocessed, py::arg("rows"), py::arg("further"),
           py::arg("out"), py::kw_only(), py::arg("address"), py::arg("data"), py::arg("width"),
           py::arg("owner"), py::arg("first_row"))
      .def("start_top_k", &start_top_k, py::arg("rows"), py::arg("further"),
           py::arg("scores").noconvert(), py::arg("indices").noconvert(), py::arg("threshold"),
           py::arg("thresholds"), py::arg("allowed"), py::arg("first_row"))
      .def("start_check", &start_check, py::arg("rows"), py::arg("further"), py::arg("first_row"))
      .def("start_warm_up",
           [](Predictor& predictor) {
             return std::make_unique<Pending>(predictor.start_warm_up(), -1, py::none());
           })
      .def("lease", &Predictor::lease, py::arg("bytes"))
      .def("stats", &stats)
      .def("close", &Predictor::close)
      .def("release", &Predictor::release)
      .def_property_readonly("closed", &Predictor::closed)
      .def_property_readonly(
          "n_scores", [](const Predictor& predictor) { return predictor.engine().n_scores(); });
}

}  // namespace fastprop::bindings
