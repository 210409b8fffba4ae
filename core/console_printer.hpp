#pragma once

#include <cstddef>
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
  /// One line for each wait in the queue, refusal and retry.
  bool show_limits = true;
  /// Bytes of a tool's result that are shown.
  std::size_t max_tool_text = 200;
};

/// Prints a conversation for a person: each speaker's name and text (streamed pieces as they come,
/// and not again when the message is complete), one line for each tool call, wait and retry, and at
/// the end why it stopped. Control characters in what models and tools say are not passed on: they
/// could rewrite the reader's screen. `file` must outlive the observer.
///
///     user_proxy
///     What is the weather in Oslo?
///
///       · get_weather({"city":"Oslo"}) → 12 °C, rain (0.31 s)
///
///     assistant
///     It rains in Oslo, at 12 °C. TERMINATE
///
///       · stopped: termination_message: ends_with("TERMINATE") by user_proxy; 2 calls, 214 tokens
///
/// Meant for one conversation at a time: several at once are mixed line by line.
[[nodiscard]] Observer console_printer(std::FILE* file = stdout, ConsoleOptions options = {});

}  // namespace moderato
