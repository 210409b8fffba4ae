#include <moderato/llm/http/http_client.hpp>

#include <algorithm>
#include <moderato/core/loop.hpp>
#include <moderato/core/runtime_core.hpp>
#include <moderato/llm/http/curl_transport.hpp>

namespace moderato {
namespace {

constexpr std::string_view blank = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

void HttpHeaders::add_line(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  block_ += trimmed(line.substr(0, colon));
  block_ += ':';
  block_ += trimmed(line.substr(colon + 1));
  block_ += '\n';
}

HttpHeaders::Line HttpHeaders::header_at(std::size_t at) const noexcept {
  const std::string_view block = block_;
  const std::size_t colon = block.find(':', at);
  const std::size_t end = block.find('\n', colon);
  return {block.substr(at, colon - at), block.substr(colon + 1, end - colon - 1), end + 1};
}

std::optional<std::string_view> HttpHeaders::find(std::string_view name) const noexcept {
  for (std::size_t at = 0; at < block_.size();) {
    const auto [candidate, value, next] = header_at(at);
    if (std::ranges::equal(candidate, name, {}, lower, lower)) return value;
    at = next;
  }
  return std::nullopt;
}

HttpOutcome send_http(const HttpRequest& request) {
  Loop* loop = Loop::current();
  if (loop == nullptr || Loop::current_fiber() == nullptr) {
    return {.result = fail(ErrorCode::internal, "send_http was called outside a fiber")};
  }
  if (loop->core().runtime().simulated()) {
    return {.result =
                fail(ErrorCode::configuration,
                     "a Simulation has no sockets: give it a scripted or simulated provider")};
  }
  return loop->service<CurlTransport>().send(request);
}

}  // namespace moderato
