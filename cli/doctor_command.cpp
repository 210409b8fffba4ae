#include "doctor_command.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <moderato/core/doctor/diagnosis.hpp>
#include <stdexcept>

#include "run_journal.hpp"

namespace moderato {
namespace {

struct DoctorFlags {
  std::string what;
  std::string journal;
  bool json = false;
};

int run_doctor(const DoctorFlags& flags) {
  const bool is_file = std::filesystem::is_regular_file(flags.what);
  const auto journal = open_journal(is_file ? flags.what : flags.journal, false);
  const std::string run =
      is_file || flags.what.empty() ? std::string() : find_run(*journal, flags.what).id;
  const auto history = case_history(*journal, run);
  if (!history) throw std::runtime_error(history.error().message);
  const Diagnosis diagnosis = diagnose(*history);
  fmt::print("{}{}", flags.json ? dump_json(to_json(diagnosis)) : to_string(diagnosis),
             flags.json ? "\n" : "");
  return diagnosis.healthy() ? 0 : 3;
}

}  // namespace

std::function<int()> add_doctor_command(CLI::App& program) {
  const auto flags = std::make_shared<DoctorFlags>();
  CLI::App* app = program.add_subcommand(
      "doctor", "Says why calls were refused, slow or wasted, and what helps");
  app->add_option("what", flags->what, "A run, or a journal file; left out: all of --journal");
  add_journal_option(*app, flags->journal);
  app->add_flag("--json", flags->json, "Print the findings as JSON");
  app->footer("Exit codes: 0 healthy, 3 findings, 1 the journal cannot be read.");
  return [flags] { return run_doctor(*flags); };
}

}  // namespace moderato
