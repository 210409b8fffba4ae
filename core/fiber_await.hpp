#pragma once

// Private header of the library: not installed.

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/system/system_error.hpp>
#include <optional>
#include <stop_token>
#include <tuple>
#include <type_traits>
#include <utility>

#include <moderato/core/wait.hpp>

namespace moderato {

/// Completion token: the fiber waits for the Asio or Beast operation.
///   auto n = socket.async_read_some(buffer, use_fiber);       // throws
///   boost::system::system_error auto n = socket.async_read_some(buffer, use_fiber[ec]);   //
///   stores the error … use_fiber(stop_token)                                   // a stop cancels
///   the operation
/// The cancellation of the fiber cancels the operation, too. The operation's I/O object must belong
/// to the io_context of the fiber's loop.
struct UseFiber {
  boost::system::error_code* error = nullptr;
  std::stop_token stop{};

  [[nodiscard]] UseFiber operator[](boost::system::error_code& ec) const {
    return {.error = &ec, .stop = stop};
  }
  [[nodiscard]] UseFiber operator()(std::stop_token token) const {
    return {.error = error, .stop = std::move(token)};
  }
};
inline const UseFiber use_fiber{};

namespace detail {

/// Where the handler leaves what the operation gave; lives on the waiting fiber's stack.
template <class... Values>
struct FiberOperation {
  WaitPoint done{"a socket operation"};
  boost::asio::cancellation_signal cancel;
  boost::system::error_code error;
  std::optional<std::tuple<Values...>> values;

  void wait(const std::stop_token& stop) {
    if (done.wait(no_deadline, stop) == Wake::notified) return;
    cancel.emit(boost::asio::cancellation_type::terminal);
    done.wait_for_notification();
  }
};

template <class... Values>
struct FiberHandler {
  FiberOperation<Values...>* operation;

  using cancellation_slot_type = boost::asio::cancellation_slot;
  [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept {
    return operation->cancel.slot();
  }
  void operator()(boost::system::error_code error, Values... values) {
    operation->error = error;
    operation->values.emplace(std::move(values)...);
    operation->done.notify();
  }
};

inline void result_of_operation(std::tuple<>&&) {}
template <class Value>
Value result_of_operation(std::tuple<Value>&& values) {
  return std::get<0>(std::move(values));
}
template <class First, class Second, class... More>
std::tuple<First, Second, More...> result_of_operation(
    std::tuple<First, Second, More...>&& values) {
  return std::move(values);
}

}  // namespace detail
}  // namespace moderato

template <class... Values>
class boost::asio::async_result<moderato::UseFiber, void(boost::system::error_code, Values...)> {
 public:
  /// Nothing, the one value, or a tuple of them.
  using return_type =
      decltype(moderato::detail::result_of_operation(std::declval<std::tuple<Values...>>()));

  template <class Initiation, class... Args>
  static return_type initiate(Initiation&& initiation, const moderato::UseFiber& token,
                              Args&&... args) {
    moderato::detail::FiberOperation<Values...> operation;
    std::forward<Initiation>(initiation)(moderato::detail::FiberHandler<Values...>{&operation},
                                         std::forward<Args>(args)...);
    operation.wait(token.stop);
    if (token.error != nullptr) {
      *token.error = operation.error;
    } else if (operation.error) {
      throw boost::system::system_error(operation.error);
    }
    return moderato::detail::result_of_operation(std::move(*operation.values));
  }
};
