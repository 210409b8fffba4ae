#pragma once

#include <tl/expected.hpp>
#include <utility>

#include <moderato/core/error.hpp>

namespace moderato {

/// A value, or the Error that explains why there is none. Used wherever failure is normal
/// (provider, limiter, store, tool); exceptions are for misuse found at construction.
template <class T>
using Result = tl::expected<T, Error>;

/// `return fail(ErrorCode::timeout, "…");` from a function that returns a Result.
[[nodiscard]] inline tl::unexpected<Error> fail(ErrorCode code, std::string message) {
  return tl::unexpected<Error>(Error{.code = code, .message = std::move(message)});
}
[[nodiscard]] inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace moderato
