#pragma once

// Private header of the library: not installed.

#include <string>
#include <string_view>

#include <moderato/core/error.hpp>
#include <moderato/llm/provider.hpp>

namespace moderato {

/// What a server said about a failure, in whichever of the usual shapes.
struct ErrorWords {
  std::string message;  ///< Never empty after error_words().
  std::string type;
  std::string code;  ///< A code that only repeats the HTTP status is left out.
};

/// Reads the body of a failed answer: {"error": {"message", "type", "code"}}, {"error": "…"},
/// {"message": …}, {"detail": …} (a text, or a list with `msg`), {"errors": […]}, a list of any of
/// those, plain text, HTML.
[[nodiscard]] ErrorWords error_words(int status, std::string_view body);

/// What the caller should do: the code decides, then the type, then the status.
[[nodiscard]] ErrorCode classify_openai_error(int status, const ErrorWords& words);

/// The error that a body stands for; what it says about the quota is added to `signal`. `status` is
/// 200 for an error in a stream or in an answer that claims to be good.
[[nodiscard]] Error read_openai_error(int status, std::string_view body, QuotaSignal& signal);

/// The beginning of a text for an error message: valid UTF-8, in one line, its length if it was
/// cut.
[[nodiscard]] std::string excerpt(std::string_view text, std::size_t max_bytes = 200);

}  // namespace moderato
