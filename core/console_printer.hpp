#pragma once

#include <cstdint>
#include <cstdio>

#include <moderato/core/observer.hpp>

namespace moderato {

enum class Colour : std::uint8_t {
  automatic,  ///< If the file is a terminal.
  always,
  never,
};

struct ConsoleOptions {
  Colour colour = Colour::automatic;
  /// One dim line for each wait in the queue, retry and refusal.
  bool show_limits = true;
  /// Tool results longer than this are shortened.
  std::size_t max_tool_text = 200;
};

/// Prints a conversation for a person: who speaks to whom, texts (streamed pieces as they come), tool
/// calls in one line each, waits and retries, and at the end why it stopped. `file` must outlive the
/// observer. For one conversation at a time: several at once are mixed line by line.
[[nodiscard]] Observer console_printer(std::FILE* file = stdout, ConsoleOptions options = {});

}  // namespace moderato
