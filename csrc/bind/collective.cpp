// Schedules as dicts, and an executor that Python drives by hand: what tests prove the collectives
// with.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <numeric>
#include <ranges>

#include "bind/module.hpp"
#include "bind/segments.hpp"
#include "collective/executor.hpp"
#include "session/worker_pool.hpp"

namespace isthmus {
namespace {

namespace py = pybind11;

constexpr Algorithm algorithms[] = {Algorithm::direct,    Algorithm::gather, Algorithm::ring,
                                    Algorithm::broadcast, Algorithm::swap,   Algorithm::hand};

void require(bool condition, const char* text) {
  if (!condition) throw py::value_error(text);
}

void require(const Status& status) {
  if (!status.ok()) throw py::value_error(status.text);
}

Algorithm algorithm_named(const std::string& name) {
  for (const Algorithm algorithm : algorithms) {
    if (name_of(algorithm) == name) return algorithm;
  }
  throw py::value_error("no schedule \"" + name + "\"");
}

Format format_of(const SegmentNames& names) {
  return Format(segments_named(names, 0));
}

Schedule checked_schedule(const std::string& algorithm, const Shape& shape, int root) {
  require(shape.world >= 1 && shape.rank >= 0 && shape.rank < shape.world,
          "expected 0 <= rank < world");
  require(root >= 0 && root < shape.world, "expected 0 <= root < world");
  for (const Stretch& stretch : shape.stretches) require(stretch.granule > 0, "expected block > 0");
  return make_schedule(algorithm_named(algorithm), shape, root);
}

py::tuple tuple_of(Span span) {
  return py::make_tuple(span.begin, span.count);
}

py::dict dict_of(const Schedule& schedule) {
  constexpr const char* sources[] = {"input", "sum", "received"};
  constexpr const char* roles[] = {"term", "partial", "result", "copy"};
  constexpr const char* kinds[] = {"partial", "total", "local", "copy"};
  using py::literals::operator""_a;
  py::list sends;
  for (const Send& send : schedule.sends) {
    sends.append(
        py::dict("peer"_a = send.peer, "transfer"_a = send.transfer, "span"_a = tuple_of(send.span),
                 "source"_a = sources[static_cast<int>(send.source)], "from"_a = send.from));
  }
  py::list receives;
  for (const Receive& receive : schedule.receives) {
    receives.append(py::dict("peer"_a = receive.peer, "transfer"_a = receive.transfer,
                             "span"_a = tuple_of(receive.span),
                             "role"_a = roles[static_cast<int>(receive.role)]));
  }
  py::list sums;
  for (const Sum& sum : schedule.sums) {
    sums.append(py::dict("span"_a = tuple_of(sum.span), "terms"_a = sum.terms,
                         "kind"_a = kinds[static_cast<int>(sum.kind)]));
  }
  return py::dict("sends"_a = sends, "receives"_a = receives, "sums"_a = sums);
}

// Workers that compute when they are told to, in any order.
class OnDemand final : public Workers {
 public:
  void post(Call work, Call then) override {
    waiting_.push_back({std::move(work), std::move(then)});
  }
  bool collect() override { return false; }
  void drain() override {
    while (!waiting_.empty()) compute(0);
  }

  std::size_t waiting() const { return waiting_.size(); }
  void compute(std::size_t at) {
    const auto [work, then] = waiting_.at(at);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(at));
    work();
    then();
  }

 private:
  struct Posted {
    Call work;
    Call then;
  };
  std::vector<Posted> waiting_;
};

// An executor with the memory that it works on.
class Driven {
 public:
  Driven(Job job, std::vector<float> weights, const std::string& wire, int threads)
      : input_(wire),
        output_(job.format.elements()),
        layout_(job.terms),
        terms_(layout_ ? layout_->bytes() : 0),
        weights_(std::move(weights)),
        world_(job.world) {
    if (threads > 0) pool_ = std::make_unique<WorkerPool>(threads, [] {});
    for (const Stretch& stretch : job.format.stretches()) {
      require(job.slice_elements > 0 && job.slice_elements % stretch.granule == 0,
              "slice_elements must be a multiple of the codecs' granules");
    }
    require(input_.size() == job.format.input_bytes(), "the wire has the wrong size");
    require(weights_.empty() || weights_.size() == static_cast<std::size_t>(job.world),
            "expected one weight a rank, or none");
    executor_ =
        std::make_unique<Executor>(std::move(job), std::as_bytes(std::span(input_)),
                                   std::span(output_), std::span(terms_), buffers_, workers());
  }

  ~Driven() { workers().drain(); }
  Driven(const Driven&) = delete;
  Driven& operator=(const Driven&) = delete;

  Executor& executor() { return *executor_; }
  OnDemand& on_demand() { return on_demand_; }
  Workers& workers() { return pool_ ? static_cast<Workers&>(*pool_) : on_demand_; }
  Executor& executor_to(int peer) {
    require(peer >= 0 && peer < world_, "no such rank");
    return *executor_;
  }

  py::memoryview place(int peer, SliceId id, std::uint64_t bytes) {
    Result<ByteSpan> placed = executor_->place(peer, id, bytes);
    require(placed.status());
    return py::memoryview::from_memory(placed->data(), static_cast<py::ssize_t>(placed->size()));
  }

  void take(int peer, SliceId id, std::string_view wire) {
    Buffer buffer = buffers_.take(wire.size());
    std::ranges::copy(std::as_bytes(std::span(wire)), buffer.get());
    require(executor_->take(peer, id, std::move(buffer), wire.size()));
  }

  void start() {
    require(!started_, "an executor starts once");
    started_ = true;
    executor_->start(weights_);
    require(executor_->health());
  }

  py::array_t<float> output() const {
    return py::array_t<float>(static_cast<py::ssize_t>(output_.size()), output_.data());
  }

  std::vector<py::bytes> terms() const {
    std::vector<py::bytes> found;
    const auto* from = reinterpret_cast<const char*>(terms_.data());
    for (int i = 0; layout_ && i < layout_->count; ++i) {
      found.emplace_back(from + layout_->stride * static_cast<std::uint64_t>(i),
                         layout_->format.input_bytes());
    }
    return found;
  }

 private:
  std::string input_;
  std::vector<float> output_;
  std::optional<Terms> layout_;
  std::vector<std::byte> terms_;
  std::vector<float> weights_;
  int world_;
  bool started_ = false;
  SliceBuffers buffers_;
  OnDemand on_demand_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<Executor> executor_;
};

py::bytes wire_of(const OutSlice& slice) {
  std::string wire;
  for (std::size_t i = 0; i < static_cast<std::size_t>(slice.pieces); ++i) {
    wire.append(reinterpret_cast<const char*>(slice.bytes[i].data()), slice.bytes[i].size());
  }
  return wire;
}

bool each_once(Order order, int world) {
  std::ranges::sort(order);
  return std::ranges::equal(order, std::views::iota(0, world));
}

void register_schedules(py::module_& m) {
  m.def(
      "schedule",
      [](const std::string& algorithm, int rank, int world, std::uint64_t elements,
         std::uint32_t block, int root, const Shares& shares, const Order& order) {
        require(
            shares.empty() || (shares.size() == static_cast<std::size_t>(world) &&
                               std::accumulate(shares.begin(), shares.end(), 0U) == whole_share),
            "expected a share for each rank, together 65536");
        require(order.empty() || each_once(order, world), "expected each rank once");
        return dict_of(
            checked_schedule(algorithm, {rank, world, {{elements, block}}, shares, order}, root));
      },
      py::arg("algorithm"), py::kw_only(), py::arg("rank"), py::arg("world"), py::arg("elements"),
      py::arg("block"), py::arg("root") = 0, py::arg("shares") = Shares{},
      py::arg("order") = Order{});
  m.def(
      "choose",
      [](int world, const SegmentNames& segments) {
        return std::string(name_of(choose(world, format_of(segments)).algorithm));
      },
      py::arg("world"), py::arg("segments"));
  m.def(
      "chosen_slice",
      [](int world, const SegmentNames& segments, bool one_machine) {
        const Reach reach = one_machine ? Reach::one_machine : Reach::anywhere;
        return choose(world, format_of(segments), nullptr, reach).slice_elements;
      },
      py::arg("world"), py::arg("segments"), py::kw_only(), py::arg("one_machine"));
  m.def(
      "check_schedule",
      [](const std::string& algorithm, const SegmentNames& segments) {
        require(check_schedule(algorithm_named(algorithm), format_of(segments)));
      },
      py::arg("algorithm"), py::kw_only(), py::arg("segments"));
}

// What becomes of a slice that comes.
void register_coming(py::class_<Driven>& executor) {
  executor
      .def(
          "place",
          [](Driven& self, int peer, std::uint32_t transfer, std::uint64_t offset,
             std::uint64_t bytes) { return self.place(peer, {transfer, offset}, bytes); },
          py::arg("peer"), py::arg("transfer"), py::arg("offset"), py::arg("bytes"))
      .def(
          "arrived",
          [](Driven& self, int peer, std::uint32_t transfer, std::uint64_t offset) {
            require(self.executor().arrived(peer, {transfer, offset}));
          },
          py::arg("peer"), py::arg("transfer"), py::arg("offset"))
      .def(
          "take",
          [](Driven& self, int peer, std::uint32_t transfer, std::uint64_t offset,
             const py::bytes& wire) { self.take(peer, {transfer, offset}, wire); },
          py::arg("peer"), py::arg("transfer"), py::arg("offset"), py::arg("wire"))
      .def("to_compute", [](Driven& self) { return self.on_demand().waiting(); })
      .def(
          "compute",
          [](Driven& self, std::size_t at) {
            require(at < self.on_demand().waiting(), "nothing to compute there");
            self.on_demand().compute(at);
          },
          py::arg("at"))
      .def("drain", [](Driven& self) { self.workers().drain(); });
}

void register_executor(py::module_& m) {
  py::class_<OutSlice>(m, "Slice")
      .def_property_readonly("transfer", [](const OutSlice& slice) { return slice.id.transfer; })
      .def_property_readonly("offset", [](const OutSlice& slice) { return slice.id.offset; })
      .def("wire", &wire_of);
  py::class_<Driven> executor(m, "Executor");
  executor
      .def(py::init([](const std::string& algorithm, int rank, int world, const py::bytes& wire,
                       const SegmentNames& segments, std::vector<float> weights, bool mean,
                       std::uint32_t slice_elements, int root, bool terms, int threads) {
             require(threads >= 0 && threads <= 64, "expected 0 to 64 threads");
             Format format = format_of(segments);
             const Shape shape{rank, world, format.stretches()};
             Schedule schedule = checked_schedule(algorithm, shape, root);
             if (terms && algorithm == "gather") schedule = gather_terms(shape);
             Job job{rank, world, std::move(schedule), std::move(format), mean, slice_elements};
             job.least_work_elements = 0;
             if (terms) job.terms = terms_of(algorithm_named(algorithm), world, job.format);
             return std::make_unique<Driven>(std::move(job), std::move(weights), std::string(wire),
                                             threads);
           }),
           py::arg("algorithm"), py::kw_only(), py::arg("rank"), py::arg("world"), py::arg("wire"),
           py::arg("segments"), py::arg("weights"), py::arg("mean"), py::arg("slice_elements"),
           py::arg("root") = 0, py::arg("terms") = false, py::arg("threads") = 0)
      .def("start", &Driven::start)
      .def(
          "next",
          [](Driven& self, int peer, bool sums_first) {
            return self.executor_to(peer).next(peer, sums_first ? First::sums : First::inputs);
          },
          py::arg("peer"), py::kw_only(), py::arg("sums_first") = false, py::keep_alive<0, 1>())
      .def("has_next", [](Driven& self, int peer) { return self.executor_to(peer).has_next(peer); })
      .def("sent", [](Driven& self, const OutSlice& slice) { self.executor().sent(slice); })
      .def("output_ready", [](Driven& self) { return self.executor().output_ready(); })
      .def("input_free", [](Driven& self) { return self.executor().input_free(); })
      .def("finished", [](Driven& self) { return self.executor().finished(); })
      .def("waits_for",
           [](Driven& self, int peer) { return self.executor_to(peer).waits_for(peer); })
      .def("output", &Driven::output)
      .def("terms", &Driven::terms)
      .def("term_sum", [](Driven& self) {
        const TermSum& sum = self.executor().term_sum();
        return std::pair(sum.weights, sum.divisor);
      });
  register_coming(executor);
}

}  // namespace

void register_collective(py::module_& m) {
  register_schedules(m);
  register_executor(m);
}

}  // namespace isthmus
