// Durations, dates and words of providers' headers and errors, and quota headers.

#include <cstdlib>
#include <moderato/llm/providers/quota_signals.hpp>

using namespace moderato;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto duration = parse_quota_duration(text)) {
    if (*duration < Duration::zero()) std::abort();
  }
  if (const auto wait = parse_wait(text, WallTime{})) {
    if (*wait < Duration::zero()) std::abort();
  }
  (void)parse_http_date(text);
  (void)wait_in_text(text);
  (void)quota_state_in_text(text);
  (void)says_request_too_large(text);
  QuotaSignal signal;
  add_error_text(signal, text);
  return 0;
}
