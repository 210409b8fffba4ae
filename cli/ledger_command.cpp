#include "ledger_command.hpp"

#include <fmt/format.h>

#include <map>
#include <memory>
#include <moderato/core/ledger_totals.hpp>
#include <stdexcept>

#include "run_journal.hpp"

namespace moderato {
namespace {

struct LedgerFlags {
  std::string run;
  std::string journal;
  std::vector<std::string> by{"session", "agent", "purpose"};
  std::map<LedgerKey, std::string> only{};
  bool json = false;
};

int print_lines(const std::vector<CallRecord>& calls) {
  for (const CallRecord& call : calls) fmt::print("{}\n", dump_json(to_json(call)));
  return 0;
}

int run_ledger(const LedgerFlags& flags) {
  const auto journal = open_journal(flags.journal, false);
  if (!flags.run.empty()) (void)find_run(*journal, flags.run);
  auto calls = flags.run.empty() ? journal->calls() : journal->calls(flags.run);
  if (!calls) throw std::runtime_error(calls.error().message);
  for (const auto& [key, value] : flags.only) *calls = records_with(std::move(*calls), key, value);
  if (flags.json) return print_lines(*calls);

  std::vector<LedgerKey> keys;
  for (const std::string& key : flags.by) keys.push_back(*ledger_key_from_string(key));
  const auto print = [](std::string_view name, const LedgerTotals& totals) {
    fmt::print("{:<44} {:>6} {:>8} {:>7} {:>9} {:>9} {:>10.6f} {:>9.2f} {:>9.2f}\n", name,
               totals.calls, totals.attempts, totals.refused, totals.usage.input,
               totals.usage.output, totals.cost,
               std::chrono::duration<double>(totals.queue_wait).count(),
               std::chrono::duration<double>(totals.latency).count());
  };
  fmt::print("{:<44} {:>6} {:>8} {:>7} {:>9} {:>9} {:>10} {:>9} {:>9}\n",
             fmt::format("{}", fmt::join(flags.by, " · ")), "calls", "attempts", "refused", "in",
             "out", "cost", "waited s", "took s");
  for (const auto& [group, totals] : totals_by(*calls, keys))
    print(fmt::format("{}", fmt::join(group, " · ")), totals);
  for (const auto& [group, totals] : totals_by(*calls, {})) print("all", totals);
  return 0;
}

}  // namespace

std::function<int()> add_ledger_command(CLI::App& program) {
  const auto flags = std::make_shared<LedgerFlags>();
  CLI::App* app = program.add_subcommand("ledger", "Counts calls, tokens, cost and waits of a run");
  app->add_option("run", flags->run, "Name of the run; left out: all runs of the journal");
  add_journal_option(*app, flags->journal);
  app->add_option("--by", flags->by, "What to group by: session, agent, tenant, purpose, model")
      ->check(CLI::IsMember({"session", "agent", "tenant", "purpose", "model"}))
      ->delimiter(',')
      ->capture_default_str();
  for (const LedgerKey key : {LedgerKey::session, LedgerKey::agent, LedgerKey::tenant,
                              LedgerKey::purpose, LedgerKey::model}) {
    const std::string name(to_string(key));
    app->add_option_function<std::string>(
        "--" + name, [flags, key](const std::string& value) { flags->only[key] = value; },
        fmt::format("Only attempts with this {}", name));
  }
  app->add_flag("--json", flags->json, "Print every attempt as a line of JSON");
  return [flags] { return run_ledger(*flags); };
}

}  // namespace moderato
