#pragma once

#include <cstdint>
#include <string>

#include <moderato/agents/transforms/message_filter.hpp>
#include <moderato/agents/transforms/transform.hpp>

namespace moderato {

enum class NamePosition : std::uint8_t { start, end };

struct ContentName {
  NamePosition position = NamePosition::start;
  std::string format_string = "{name}:\n";  ///< Every `{name}` is replaced.
  /// Not where the name stands there already.
  bool deduplicate = true;
  MessageFilter filter{};
};

/// Writes the speaker's name into the text (AutoGen's TextMessageContentName), for models that do
/// not look at names. Messages without text or name stay as they are.
[[nodiscard]] Transform content_name(ContentName settings = {});

/// The same as a pure function.
[[nodiscard]] MessageList add_names(MessageList messages, const ContentName& settings);

}  // namespace moderato
