// A stream of server-sent events gives the same events wherever it is cut. First byte: length of
// the pieces.

#include <algorithm>
#include <cstdlib>
#include <moderato/llm/http/sse_parser.hpp>
#include <vector>

using namespace moderato;

namespace {

std::vector<std::string> events_of(std::string_view stream, std::size_t piece) {
  std::vector<std::string> events;
  SseParser parser(4096);
  while (!stream.empty()) {
    const std::size_t taken = std::min(piece, stream.size());
    const auto fed =
        parser.feed(stream.substr(0, taken), [&](const SseEvent& event) -> Result<void> {
          events.push_back(std::string(event.event) + '\n' + std::string(event.data) + '\n' +
                           std::string(event.last_id));
          return {};
        });
    if (!fed) break;
    stream.remove_prefix(taken);
  }
  return events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 4000) return 0;  // shorter than what the parser refuses
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (events_of(stream, 1U + data[0]) != events_of(stream, stream.size())) std::abort();
  return 0;
}
