// A server may answer anything: a whole answer, and a stream of events, one a line.

#include <moderato/llm/providers/openai_response.hpp>
#include <moderato/llm/providers/openai_stream.hpp>

using namespace moderato;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  ProviderOutcome whole;
  read_openai_reply(text, whole);
  OpenAIStream stream([](std::string_view) {});
  Result<void> taken;
  while (!text.empty() && taken) {
    const std::string_view line = text.substr(0, text.find('\n'));
    taken = stream.take({.event = {}, .data = line, .last_id = {}});
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  ProviderOutcome streamed;
  stream.finish(std::move(taken), streamed);
  return 0;
}
