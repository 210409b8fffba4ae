#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <moderato/core/call_record.hpp>
#include <moderato/core/clock.hpp>
#include <moderato/core/observer.hpp>
#include <moderato/core/wait.hpp>

namespace moderato {

class Fiber;
class Loop;
class Model;          // llm/model.hpp
class ModelProvider;  // llm/provider.hpp
struct ModelOptions;  // llm/model.hpp
class RuntimeCore;

struct RuntimeOptions {
  /// Event loops. 0: `run()` on the embedder's own thread is the only loop.
  std::size_t threads = 1;
  /// Most threads of the worker pool, on which blocking work (tools, prompts) runs. Made on demand.
  std::size_t worker_threads = 8;
  /// Virtual size of a fiber's stack; only touched pages use memory. Below it 256 KiB are without
  /// access: code of yours with larger frames needs -fstack-clash-protection.
  std::size_t stack_size = 256 * 1024;
  /// From this number of fibers on, stacks have canaries instead of guard pages (a guarded stack
  /// takes two memory mappings, and Linux allows 65,530).
  std::size_t max_guarded_stacks = 12'000;
  /// Told of every event of every conversation on this runtime. With more than one of `threads` it
  /// is called from several of them at once: it must be thread safe.
  Observer observer{};
  /// Gets one record for each attempt at a model call on this runtime; null: none is kept.
  std::shared_ptr<Ledger> ledger{};
};

struct SpawnOptions {
  std::string name{};  ///< For deadlock reports; empty: "fiber N".
};

struct ParallelOptions {
  std::size_t max_in_flight = 16;  ///< ≥ 1.
};

/// What a runtime holds just now; all zero when nothing is left over.
struct RuntimeStats {
  std::size_t fibers = 0;       ///< Started and not ended.
  std::size_t worker_jobs = 0;  ///< Queued or running on the worker pool.
};

/// Thrown by a Simulation when nothing can ever run again; what() lists who waits on what.
class Deadlock : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What a fiber runs, and where its end is announced. Library internals; programs hold a Task.
class TaskState : public std::enable_shared_from_this<TaskState> {
 public:
  explicit TaskState(std::string name) : name_(std::move(name)) {}
  TaskState(const TaskState&) = delete;
  TaskState& operator=(const TaskState&) = delete;
  virtual ~TaskState() = default;

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] bool done() const noexcept { return done_.load(std::memory_order_acquire); }

 protected:
  virtual void run() = 0;
  std::exception_ptr error_;

 private:
  friend class Fiber;
  friend class Loop;
  friend class RuntimeCore;
  friend class WaitPoint;

  std::string name_;
  std::atomic<bool> done_{false};
  std::atomic<bool> cancelled_{false};
  Loop* loop_ = nullptr;    // set when it is started
  Fiber* fiber_ = nullptr;  // the loop's thread only; null before and after it runs
  WaitPoint ended_{"a task to end"};
};

/// A running (or finished) fiber's result. Move only. Dropping it lets the fiber go on by itself.
template <class T>
class Task {
 public:
  Task() = default;

  /// Waits for the end; gives the value or throws what the function threw. Once.
  /// Waits even if the waiting fiber itself is cancelled: what the task refers to stays alive.
  T join() {
    const auto state = std::move(state_);
    state->wait_for_end();
    return state->take();
  }
  [[nodiscard]] bool done() const noexcept { return state_->done(); }
  /// Asks the fiber to stop: every wait of it ends as Wake::cancelled from now on.
  void cancel() { state_->request_stop(); }
  [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }

 private:
  friend class Runtime;
  struct Value : TaskState {
    using TaskState::TaskState;
    void wait_for_end();
    void request_stop();
    T take() {
      // Moved out, so that the exception belongs to this thread alone and dies here.
      if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
      if constexpr (!std::is_void_v<T>) return std::move(*value);
    }
    [[no_unique_address]] std::conditional_t<std::is_void_v<T>, std::monostate, std::optional<T>>
        value{};
  };
  template <class F>
  struct Of final : Value {
    Of(std::string name, F f) : Value(std::move(name)), function(std::move(f)) {}
    void run() override {
      F f = std::move(*function);
      function.reset();
      if constexpr (std::is_void_v<T>) {
        f();
      } else {
        this->value.emplace(f());
      }
    }
    std::optional<F> function;
  };
  explicit Task(std::shared_ptr<Value> state) : state_(std::move(state)) {}
  std::shared_ptr<Value> state_;
};

/// Owns the event loops, the fibers, the worker pool, the clock and the connections.
///
/// Every function of the library has one form. Called on an ordinary thread it blocks that thread;
/// called on a fiber (inside spawn, parallel, or another library function) it suspends that fiber.
///
/// Thread safe. Must outlive everything made with it. The destructor cancels every fiber's waits
/// and returns when all of them have ended.
class Runtime {
 public:
  explicit Runtime(RuntimeOptions options = {});
  virtual ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Starts `f()` on a fiber of its own (std::bad_alloc, here or from join(): no memory for its
  /// stack): on the loop of the fiber that calls, so that fibers
  /// started by one another need no locks; from an ordinary thread the loops take turns.
  template <class F>
  auto spawn(F f, SpawnOptions options = {}) -> Task<std::invoke_result_t<F&>> {
    using T = std::invoke_result_t<F&>;
    auto state =
        std::make_shared<typename Task<T>::template Of<F>>(std::move(options.name), std::move(f));
    start(state);
    return Task<T>(std::move(state));
  }

  /// Runs `f()` on a fiber and waits for it; on a fiber it is just `f()`. This is how a library
  /// function that may be called anywhere begins.
  template <class F>
  auto block_on(F&& f) -> std::invoke_result_t<F&> {
    if (on_fiber()) return f();
    return spawn([&f] { return f(); }, {.name = "block_on"}).join();
  }

  /// f(item) for each item, at most `max_in_flight` at a time, results in the order of the items.
  /// If any throws, no new ones are started and the first exception is rethrown when all have
  /// ended. With several `threads` the items are spread over them, so `f` must then be thread safe.
  template <class Items, class F>
  auto parallel(Items&& items, ParallelOptions options, F f) {
    using Item = decltype(*std::begin(items));
    using R = std::invoke_result_t<F&, Item>;
    return block_on([&] {
      using Slot = std::conditional_t<std::is_void_v<R>, std::monostate, std::optional<R>>;
      const auto count =
          static_cast<std::size_t>(std::distance(std::begin(items), std::end(items)));
      std::vector<Slot> slots(count);
      for_each_index(count, options.max_in_flight, [&](std::size_t index) {
        auto&& item = *std::next(std::begin(items), static_cast<std::ptrdiff_t>(index));
        if constexpr (std::is_void_v<R>) {
          f(item);
        } else {
          slots[index].emplace(f(item));
        }
      });
      if constexpr (!std::is_void_v<R>) {
        std::vector<R> results;
        results.reserve(count);
        for (auto& slot : slots) results.push_back(std::move(*slot));
        return results;
      }
    });
  }

  /// Runs `f()` on the worker pool (a big stack, blocking allowed) and waits for it. Exceptions
  /// come back. In a Simulation the loop stands still meanwhile, so histories stay the same. A job
  /// is not interrupted by cancellation: `f` must end by itself.
  template <class F>
  auto on_worker(F&& f) -> std::invoke_result_t<F&> {
    using T = std::invoke_result_t<F&>;
    if constexpr (std::is_void_v<T>) {
      run_on_worker([&] { f(); });
    } else {
      std::optional<T> value;
      run_on_worker([&] { value.emplace(f()); });
      return std::move(*value);
    }
  }

  /// Runs the loop on this thread until stop(). Only with `threads = 0`, else std::logic_error.
  virtual void run();
  /// Makes run() return. Fibers stay where they are and go on with the next run(). Any thread.
  void stop();
  /// Runs what is ready on this thread without waiting (only with `threads = 0`). Returns whether
  /// anything ran: for embedders with a loop of their own.
  bool poll();

  /// A model on this runtime. Declared here so that a program reads from the runtime down; defined
  /// in llm/model.cpp, and llm/model.hpp has to be included to use it.
  [[nodiscard]] Model model(ModelProvider provider, ModelOptions options);
  [[nodiscard]] Model model(ModelProvider provider);

  [[nodiscard]] const Clock& clock() const noexcept;
  [[nodiscard]] const Observer& observer() const noexcept;
  [[nodiscard]] const std::shared_ptr<Ledger>& ledger() const noexcept;
  [[nodiscard]] RuntimeStats stats() const;
  /// True in a Simulation: no sockets, no real time.
  [[nodiscard]] bool simulated() const noexcept;
  /// A random number; in a Simulation from its seed. Not for secrets. Thread safe.
  [[nodiscard]] std::uint64_t random();

  /// True on a fiber of any runtime.
  [[nodiscard]] static bool on_fiber() noexcept;
  /// The runtime whose fiber (or worker job) is running; null on an ordinary thread.
  [[nodiscard]] static Runtime* current() noexcept;

  /// For the library's own transports.
  [[nodiscard]] RuntimeCore& core() noexcept { return *core_; }

 protected:
  struct Virtual {
    std::uint64_t seed = 0;
    bool shuffle = false;
  };
  Runtime(RuntimeOptions options, Virtual simulated);

 private:
  void start(std::shared_ptr<TaskState> state);
  void run_on_worker(std::function<void()> job);
  void for_each_index(std::size_t count, std::size_t max_in_flight,
                      const std::function<void(std::size_t)>& f);
  static void join_all(std::vector<Task<void>>& tasks, const std::function<void()>& on_failure);
  static void wait_for_end(TaskState& state);
  static void request_stop(TaskState& state);
  template <class>
  friend class Task;

  std::unique_ptr<RuntimeCore> core_;
};

template <class T>
void Task<T>::Value::wait_for_end() {
  Runtime::wait_for_end(*this);
}
template <class T>
void Task<T>::Value::request_stop() {
  Runtime::request_stop(*this);
}

}  // namespace moderato
