#include "workflow_commands.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <moderato/moderato.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "interrupts.hpp"
#include "provider_server.hpp"
#include "run_journal.hpp"

namespace moderato {
namespace {

struct RunFlags {
  std::string file;
  std::string message;
  bool simulate = false;
  std::string script;
  std::string journal;
  std::string run;
  std::string resume;
  bool stream = true;
  bool json = false;
  bool progress = false;
  std::string colour = "auto";

  // What a recorded run is made of.
  std::string text;         // of the file
  std::string script_text;  // of the script
  JournalMode mode = JournalMode::record;
  InterruptedTools interrupted_tools = InterruptedTools::stop;
  std::string base_url;  // empty: those of the file
};

/// What `moderato resume` and `replay` need of the run, and the report shows.
Json program_of(const RunFlags& flags) {
  return {{"workflow", flags.text},
          {"file", flags.file},
          {"message", flags.message},
          {"simulate", flags.simulate || !flags.script.empty()},
          {"script", flags.script_text}};
}

std::string text_of(const std::string& path) {
  if (std::filesystem::is_directory(path)) {
    throw std::runtime_error(path + " is a folder, not a workflow file");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + " cannot be read");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Prints what is wrong with a file, as compilers do.
void print_problems(const std::string& path, const std::vector<WorkflowProblem>& problems) {
  for (const WorkflowProblem& problem : problems) {
    fmt::print(stderr, "{}:{}:{}: {}\n", path, problem.line, problem.column, problem.text);
  }
}

std::unique_ptr<ProviderServer> simulated_provider(const RunFlags& flags) {
  if (!flags.simulate && flags.script_text.empty()) return nullptr;
  if (flags.mode == JournalMode::replay || !flags.base_url.empty()) return nullptr;
  ProviderServerOptions options;
  if (!flags.script_text.empty()) {
    auto script = SimulatedScript::from_json(flags.script_text, flags.script);
    if (!script) throw std::runtime_error(script.error().message);
    options.engine.script = std::move(*script);
  }
  return std::make_unique<ProviderServer>(options);
}

Secret key_in_environment(const std::string& variable) {
  const char* value = std::getenv(variable.c_str());
  if (value == nullptr || *value == '\0') {
    throw std::runtime_error(
        fmt::format("the environment has no ${}, where the file says that a key is "
                    "(--simulate runs without)",
                    variable));
  }
  return Secret(value);
}

Observer printer(const RunFlags& flags) {
  if (flags.json) return json_lines(std::cout);
  if (flags.progress) return {};
  const Colour colour = flags.colour == "always"  ? Colour::always
                        : flags.colour == "never" ? Colour::never
                                                  : Colour::automatic;
  return console_printer(stdout, {.colour = colour});
}

WorkflowOptions options_of(const RunFlags& flags, const ProviderServer* simulated,
                           const Interrupts& interrupts) {
  WorkflowOptions options{.message = flags.message,
                          .observer = printer(flags),
                          .stop = interrupts.token(),
                          .stream = flags.stream};
  if (simulated != nullptr) {
    options.provider = [simulated](OpenAIOptions model) {
      model.base_url = simulated->base_url();
      return openai(std::move(model));
    };
  } else {
    const bool unused = flags.mode == JournalMode::replay || flags.simulate;
    options.key = key_in_environment;
    if (unused) options.key = [](const std::string&) { return Secret("none"); };
    options.provider = [base_url = flags.base_url](OpenAIOptions model) {
      model.proxy = "environment";
      if (!base_url.empty()) model.base_url = base_url;
      return openai(std::move(model));
    };
  }
  return options;
}

/// A session with a journal, if one was asked for.
std::unique_ptr<Session> recorded_session(const RunFlags& flags, Runtime& runtime,
                                          const std::shared_ptr<SqliteJournal>& journal) {
  if (!journal) return nullptr;
  const bool writes = flags.mode != JournalMode::replay;
  SessionOptions options{.id = flags.run,
                         .observer = writes ? journal->observer() : Observer(),
                         .journal = journal,
                         .journal_mode = flags.mode,
                         .interrupted_tools = flags.interrupted_tools};
  auto session = std::make_unique<Session>(runtime, std::move(options));
  if (flags.mode == JournalMode::resume) {
    print_interrupted(session->effects(), *journal, session->id());
  }
  if (flags.mode != JournalMode::record) return session;
  if (auto kept = journal->describe(session->id(), program_of(flags)); !kept) {
    throw std::runtime_error(kept.error().message);
  }
  fmt::print(stderr, "run {0}; if it is interrupted: moderato resume {0} --journal {1}\n",
             session->id(), flags.journal);
  return session;
}

int run_recorded(const RunFlags& flags, const std::shared_ptr<SqliteJournal>& journal) {
  const auto workflow = Workflow::parse(flags.text);
  if (!workflow) {
    print_problems(flags.file, workflow.error());
    return 1;
  }
  const Interrupts interrupts;
  const auto simulated = simulated_provider(flags);
  const auto progress = flags.progress ? std::make_unique<Progress>() : nullptr;
  const bool writes = journal && flags.mode != JournalMode::replay;
  Runtime runtime({.observer = progress ? progress->observer() : Observer(),
                   .ledger = writes ? journal->ledger() : nullptr});
  const auto session = recorded_session(flags, runtime, journal);
  WorkflowOptions options = options_of(flags, simulated.get(), interrupts);
  options.session = session.get();
  const auto result = workflow->run(runtime, options);
  if (!result) throw std::runtime_error(result.error().message);
  if (writes) {
    if (auto kept = journal->flush(); !kept) throw std::runtime_error(kept.error().message);
  }
  std::fflush(stdout);
  bool failed = false;
  for (const ChatResult& chat : result->chats) failed = failed || chat.stop.error.has_value();
  fmt::print(flags.json ? stderr : stdout, "{}: {} chat{}, {} calls, {} tokens{}\n",
             workflow->name(), result->chats.size(), result->chats.size() == 1 ? "" : "s",
             result->calls, result->usage.total(),
             result->cost > 0 ? fmt::format(", cost {:.6f}", result->cost) : "");
  if (interrupts.happened()) return 130;
  return failed || result->stop.error ? 1 : 0;
}

int run_workflow(RunFlags flags) {
  flags.text = text_of(flags.file);
  if (!flags.script.empty()) flags.script_text = text_of(flags.script);
  const auto journal = flags.journal.empty() ? nullptr : open_journal(flags.journal, true);
  if (!flags.resume.empty()) {
    flags.run = find_run(*journal, flags.resume).id;
    flags.mode = JournalMode::resume;
  }
  return run_recorded(flags, journal);
}

int check_workflows(const std::vector<std::string>& files) {
  bool wrong = false;
  for (const std::string& file : files) {
    const auto workflow = Workflow::parse(text_of(file));
    if (workflow) {
      fmt::print("{}: good\n", file);
    } else {
      print_problems(file, workflow.error());
      wrong = true;
    }
  }
  return wrong ? 1 : 0;
}

}  // namespace

int continue_workflow(const ContinueFlags& how, const RecordedRun& run) {
  const auto text = [&](const char* member) { return run.program.value(member, std::string()); };
  RunFlags flags;
  flags.file = text("file");
  flags.message = text("message");
  flags.simulate = run.program.value("simulate", false);
  flags.journal = how.journal;
  flags.run = run.id;
  flags.json = how.json;
  flags.colour = how.colour;
  flags.text = text("workflow");
  flags.script = "the run's script";
  flags.script_text = text("script");
  flags.mode = how.mode;
  flags.interrupted_tools = how.interrupted_tools;
  flags.base_url = how.base_url;
  return run_recorded(flags, run.journal);
}

std::function<int()> add_run_command(CLI::App& program) {
  const auto flags = std::make_shared<RunFlags>();
  CLI::App* app = program.add_subcommand("run", "Runs a workflow that a file describes");
  app->add_option("file", flags->file, "The workflow, a JSON file")->required();
  app->add_option("--message", flags->message, "The first message, in place of the file's");
  app->add_flag("--simulate", flags->simulate, "All models are the embedded simulated provider");
  app->add_option("--script", flags->script,
                  "JSON file with what the simulated provider says (implies --simulate)");
  CLI::Option* journal =
      app->add_option("--journal", flags->journal, "Record the run in this file");
  app->add_option("--run", flags->run, "Name of the run in the journal")->needs(journal);
  app->add_option("--resume", flags->resume, "Go on with this run of the journal")->needs(journal);
  app->add_flag("--stream,!--no-stream", flags->stream, "Show replies as they are made");
  app->add_flag("--json", flags->json, "Print events as JSON lines, and the summary on stderr");
  app->add_flag("--progress", flags->progress,
                "Show on stderr how far it is, in place of the conversation");
  app->add_option("--colour", flags->colour, "Colours")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app->footer(
      "Keys are in the environment variables that the file names. A file that names tools needs a\n"
      "program of yours that offers them: see docs/workflows.md.\n"
      "Exit codes: 0 it ended as planned, 1 a failure or a file with mistakes, 2 wrong flags,\n"
      "130 interrupted.");
  return [flags] { return run_workflow(*flags); };
}

std::function<int()> add_check_command(CLI::App& program) {
  const auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* app = program.add_subcommand("check", "Finds all mistakes in workflow files");
  app->add_option("files", *files, "Workflows, JSON files")->required();
  app->footer(
      "Each mistake is printed as FILE:LINE:COLUMN: what is wrong, and what was probably meant.\n"
      "Nothing is sent. Exit codes: 0 no mistakes, 1 mistakes or a file that cannot be read.");
  return [files] { return check_workflows(*files); };
}

}  // namespace moderato
