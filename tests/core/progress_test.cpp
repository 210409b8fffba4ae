#include <moderato/core/progress.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace moderato {
namespace {

using namespace std::chrono_literals;

/// A file in memory that a Progress draws on.
class Screen {
 public:
  Screen() : file_(::open_memstream(&text_, &size_)) { REQUIRE(file_ != nullptr); }
  ~Screen() {
    std::fclose(file_);
    std::free(text_);  // NOLINT: open_memstream allocates with malloc
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  [[nodiscard]] std::FILE* file() const { return file_; }
  /// What was written since the last call.
  std::string news() {
    std::fflush(file_);
    std::string out(text_ + read_, size_ - read_);
    read_ = size_;
    return out;
  }

 private:
  char* text_ = nullptr;
  std::size_t size_ = 0;
  std::size_t read_ = 0;
  std::FILE* file_;
};

Event at(Duration when, std::string session, EventData data) {
  return {.at = Instant(when), .session = std::move(session), .data = std::move(data)};
}

CallFinished answered(std::int64_t tokens) {
  CallFinished finished;
  finished.record.usage.input = tokens;
  return finished;
}

Stopped failed(std::string why) {
  Stopped stopped;
  stopped.stop.reason = StopReason::model_error;
  stopped.stop.error = Error{.code = ErrorCode::connection, .message = std::move(why)};
  return stopped;
}

TEST_CASE("a log file gets a line every ten seconds, and one at the end") {
  Screen screen;
  {
    Progress progress(screen.file(), {.chats = 4, .calls_per_minute = 60});
    const Observer watch = progress.observer();
    watch(at(100s, "a", ChatStarted{"user", "writer"}));
    watch(at(101s, "b", ChatStarted{"user", "writer"}));
    watch(at(102s, "a", CallSent{.agent = "writer"}));
    watch(at(104s, "a", answered(1'200)));
    watch(at(105s, "a", Stopped{}));
    CHECK(screen.news().empty());
    watch(at(110s, "b", CallQueued{.agent = "writer", .reason = "requests"}));
    CHECK(screen.news() ==
          "after 10 s: chats 1 of 4 done, 1 running, 2 to come; calls 1 in the last minute of 60, "
          "1 wait (requests); tokens 1,200; finish in about 30 s\n");
    watch(at(111s, "b", CallAdmitted{.agent = "writer"}));
    watch(at(112s, "b", failed("the connection broke")));
  }
  const std::string last = screen.news();
  CHECK(last.find("after 12 s: chats 2 of 4 done (1 failed), 0 running, 2 to come; calls 1") == 0);
  CHECK(last.find("wait (") == std::string::npos);
  CHECK(last.find("last error b: ") != std::string::npos);
  CHECK(last.find("the connection broke") != std::string::npos);
}

TEST_CASE("a terminal's lines are drawn over the ones before, however many those were") {
  Screen screen;
  Progress progress(screen.file(), {.chats = 2, .form = ProgressForm::redrawn, .errors = 1});
  const Observer watch = progress.observer();
  watch(at(0s, "a", ChatStarted{}));
  watch(at(1s, "a", failed("one")));
  const std::string first = screen.news();
  CHECK(first.find("\x1b[2Kchats   ━━━━━━━━━━━━━━━━━━━━────────────────────  1 of 2 done") == 0);
  CHECK(first.find("error   a: ") != std::string::npos);
  watch(at(2s, "b", ChatStarted{}));
  CHECK(screen.news().find("\x1b[5A\x1b[2Kchats") == 0);  // chats, calls, tokens, finish, error
  watch(at(3s, "b", Stopped{}));
  const std::string last = screen.news();  // "finish" has gone: what is below is taken away
  CHECK(last.find("\x1b[5A") == 0);
  CHECK(last.find("finish") == std::string::npos);
  CHECK(last.substr(last.size() - 3) == "\x1b[J");
}

TEST_CASE("chats within chats are not counted, those beside them are") {
  Screen screen;
  Progress progress(screen.file());
  const Observer watch = progress.observer();
  watch(at(0s, "team", ChatStarted{}));
  watch(at(0s, "team/writer/0", ChatStarted{}));
  watch(at(0s, "other/team", ChatStarted{}));
  watch(at(1s, "team/writer/0", Stopped{}));
  CHECK(progress.text().find("chats 0 done, 2 running;") == 0);
  watch(at(1s, "team", ChatStarted{}));  // within, in the same session
  watch(at(1s, "team", Stopped{}));
  CHECK(progress.text().find("chats 0 done, 2 running;") == 0);
  watch(at(1s, "team", Stopped{}));
  CHECK(progress.text().find("chats 1 done, 1 running;") == 0);
}

TEST_CASE("only the calls of the last minute count, and a shared budget is shown by its own sums") {
  Screen screen;
  const auto budget = TokenBudget::make(100'000);
  budget->charge(12'345);
  Progress progress(screen.file(), {.budget = budget});
  const Observer watch = progress.observer();
  for (int second = 0; second < 100; ++second) {
    watch(at(std::chrono::seconds(second), "a", CallSent{.agent = "writer"}));
  }
  CHECK(progress.text() ==
        "chats 0 done, 0 running; calls 60 in the last minute; tokens 12,345 of 100,000");
}

TEST_CASE("what a provider says cannot move the cursor or start a line") {
  Screen screen;
  Progress progress(screen.file());
  progress.observer()(at(0s, "a", CallRejected{.error = {.message = "bad\x1b[2J\nnews"}}));
  CHECK(progress.text().find("bad [2J news") != std::string::npos);
}

TEST_CASE("an observer that outlives its progress shows nothing") {
  Screen screen;
  Observer watch;
  {
    Progress progress(screen.file());
    watch = progress.observer();
  }
  watch(at(100s, "a", ChatStarted{}));
  watch(at(200s, "a", Stopped{}));
  CHECK(watch.failures() == 0);
  CHECK(screen.news().empty());
}

}  // namespace
}  // namespace moderato
