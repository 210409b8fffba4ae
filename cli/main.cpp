#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <moderato/core/version.hpp>

#include "chat_command.hpp"
#include "provider_command.hpp"

int main(int argc, char** argv) {
  CLI::App program("Conversations of agents that end, keep their budget and never meet a 429.",
                   "moderato");
  program.set_version_flag("--version", MODERATO_VERSION);
  program.require_subcommand(1);
  program.footer("Exit codes: 0 done, 1 a failure, 2 wrong flags, 130 interrupted.");
  const auto chat = moderato::add_chat_command(program);
  const auto provider = moderato::add_provider_command(program);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : 2;
  }
  try {
    return program.got_subcommand("chat") ? chat() : provider();
  } catch (const std::exception& error) {
    fmt::print(stderr, "moderato: {}\n", error.what());
    return 1;
  }
}
