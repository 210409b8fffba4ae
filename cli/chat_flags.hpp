#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>
#include <string>

namespace moderato {

/// What `moderato chat` is told on its command line.
struct ChatFlags {
  std::string task;
  std::string system_message;
  std::string partner_system;
  std::string reply = "Please go on.";
  std::string human = "never";
  std::string stop_word = "TERMINATE";

  std::string model;
  std::string base_url;
  std::string ca_file;
  bool simulate = false;
  double price_in = 0;
  double price_out = 0;

  std::int64_t max_turns = 0;
  std::int64_t max_replies = 10;
  std::int64_t token_budget = 0;
  std::int64_t max_output_tokens = 0;
  double timeout_s = 0;
  std::int64_t rpm = 0;
  std::int64_t tpm = 0;
  std::int64_t max_in_flight = 0;

  std::string journal;
  std::string run;

  bool stream = true;
  bool json = false;
  std::string colour = "auto";

  [[nodiscard]] bool priced() const { return price_in > 0 || price_out > 0; }
};

void add_chat_flags(CLI::App& app, ChatFlags& flags);

/// What has to be known to run the chat again from its journal: everything but how it is shown.
[[nodiscard]] Json program_of(const ChatFlags& flags);
[[nodiscard]] Result<ChatFlags> flags_from_program(const Json& program);

}  // namespace moderato
