#include "report_command.hpp"

#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <stdexcept>

#include "report_page.hpp"
#include "run_journal.hpp"

namespace moderato {
namespace {

struct ReportFlags {
  std::string run;
  std::string journal;
  std::string out = "report.html";
};

template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

int run_report(const ReportFlags& flags) {
  const auto journal = open_journal(flags.journal, false);
  ReportData data{.run = find_run(*journal, flags.run)};
  data.events = value_or_throw(journal->events(flags.run));
  data.calls = value_or_throw(journal->calls(flags.run));
  data.diagnosis = diagnose(value_or_throw(case_history(*journal, flags.run)));
  std::ofstream file(flags.out, std::ios::binary);
  file << report_page(data);
  if (!file.flush()) throw std::runtime_error("cannot write " + flags.out);
  fmt::print("{}\n", flags.out);
  return 0;
}

}  // namespace

std::function<int()> add_report_command(CLI::App& program) {
  const auto flags = std::make_shared<ReportFlags>();
  CLI::App* app = program.add_subcommand(
      "report", "Writes a run as one HTML file: transcript, time, tokens, findings");
  app->add_option("run", flags->run, "Name of the run")->required();
  add_journal_option(*app, flags->journal);
  app->add_option("-o,--out", flags->out, "The file")->capture_default_str();
  return [flags] { return run_report(*flags); };
}

}  // namespace moderato
