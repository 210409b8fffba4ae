#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>

#include <moderato/core/event.hpp>

namespace moderato {

/// Somebody who is told every event. A cheap, shareable value made from any callable that takes a
/// `const Event&`; `a | b` tells both. An observer is called on the loop's thread in the order of
/// the events and should be quick. One that throws does not disturb the conversation: the exception
/// is caught and counted, and the text of the first is kept.
class Observer {
 public:
  Observer() = default;
  template <class F>
  requires(std::invocable<F&, const Event&> && !std::same_as<std::remove_cvref_t<F>, Observer>)
      Observer(F f)  // NOLINT: a lambda is the natural observer
      : state_(std::make_shared<State>(std::function<void(const Event&)>(std::move(f)))) {}

  /// True if anybody listens. Make no event if nobody does.
  [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }
  /// Tells the observer. Never throws.
  void operator()(const Event& event) const noexcept;

  [[nodiscard]] std::uint64_t failures() const noexcept;
  [[nodiscard]] std::string first_failure() const;

  friend Observer operator|(Observer left, Observer right);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

struct Observer::State {
  explicit State(std::function<void(const Event&)> f);
  ~State();
  std::function<void(const Event&)> call;
  struct Failures;
  std::unique_ptr<Failures> failures;
};

/// Writes each event as one line of JSON. `out` must outlive the observer.
[[nodiscard]] Observer json_lines(std::ostream& out);

}  // namespace moderato
