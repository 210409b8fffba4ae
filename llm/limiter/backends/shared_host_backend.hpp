#pragma once

// Private header of the library: not installed.

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <moderato/core/result.hpp>
#include <moderato/llm/limiter/backends/shared_host_file.hpp>
#include <moderato/llm/limiter/backends/shared_host_state.hpp>
#include <moderato/llm/limiter/limiter_backend.hpp>

namespace moderato {

/// A process' end of a file of shared_host(): mapped once, whatever the number of its limiters.
/// Looks after seats whose processes have died, and hears the bell. Thread safe.
class SharedHost : public std::enable_shared_from_this<SharedHost> {
 public:
  /// A seat whose process died is noticed after this long, by those who wait.
  static constexpr Duration death_check = std::chrono::milliseconds(200);

  /// `step`: see SharedHostState::change. Errors: as SharedHostFile::open; storage if the file is
  /// locked by a process that has stopped.
  [[nodiscard]] static Result<std::shared_ptr<SharedHost>> open(
      const std::string& path, const QuotaRules& rules, SharedHostState::Step step = nullptr);
  /// To look at a quota that is in use, without taking part.
  [[nodiscard]] static Result<std::shared_ptr<SharedHost>> open_existing(const std::string& path);
  ~SharedHost();
  SharedHost(const SharedHost&) = delete;
  SharedHost& operator=(const SharedHost&) = delete;

  struct Joined {
    std::uint32_t seat = 0;
    std::uint64_t owner = 0;
    std::string note{};  ///< What is said of a quota that differs from the others'; may be empty.
  };
  /// A seat for a limiter that states this quota. If nobody else is there, the quota is as stated;
  /// otherwise the lower of each limit counts. Error: storage, no seat is free.
  [[nodiscard]] Result<Joined> join(const QuotaRules& rules);
  void leave(const Joined& joined) noexcept;

  [[nodiscard]] SharedHostState& state() noexcept { return *state_; }
  [[nodiscard]] const std::string& path() const noexcept { return file_->path(); }
  [[nodiscard]] SharedHostState::Step step() const noexcept { return step_; }

  /// Frees the seats of processes that have died; true if there were any. With the lock held.
  bool drop_dead() noexcept;
  /// Seats of processes that are alive. With the lock held.
  [[nodiscard]] std::size_t alive() const noexcept;
  /// The limiter at this seat may find room: rings its process' bell or calls the one in ours.
  /// Without the lock.
  void ring(std::uint32_t seat);
  void ring_all();
  /// See LimiterBackend::on_room.
  [[nodiscard]] std::shared_ptr<void> listen(std::uint32_t seat, std::function<void()> f);
  /// Somebody here waits: look for dead processes from now on.
  void watch();

 private:
  struct Listener;
  SharedHost(std::shared_ptr<SharedHostFile> file, SharedHostState::Step told) noexcept;
  [[nodiscard]] bool ours(std::uint32_t seat) const noexcept;
  [[nodiscard]] std::string settle_quota(const QuotaRules& rules);
  [[nodiscard]] std::optional<Joined> take_free_seat();
  void call_listeners(std::optional<std::uint32_t> seat);
  void run(std::uint32_t seen);

  std::shared_ptr<SharedHostFile> file_;
  SharedHostState* state_;
  SharedHostState::Step step_;
  std::array<std::atomic<bool>, SharedHostState::max_seats> ours_{};
  std::atomic<std::uint32_t> bell_seat_{SharedHostState::max_seats};
  std::atomic<int> checks_left_{0};
  std::atomic<std::uint32_t> own_rings_{0};
  std::atomic<bool> ending_{false};
  std::mutex mutex_;  // listeners_ and thread_
  std::vector<std::shared_ptr<Listener>> listeners_;
  std::thread thread_;
};

/// A limiter's end of it. Thread safe.
class SharedHostBackend final : public LimiterBackend {
 public:
  SharedHostBackend(std::shared_ptr<SharedHost> host, SharedHost::Joined joined) noexcept
      : host_(std::move(host)), joined_(std::move(joined)) {}
  ~SharedHostBackend() override { host_->leave(joined_); }

  Admission try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                        const NextInLine* next) override;
  void withdraw(Instant now, std::uint64_t ticket_id) override;
  std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome) override;
  [[nodiscard]] bool take_retry(Instant now) override;
  [[nodiscard]] bool shared() const noexcept override { return true; }
  [[nodiscard]] std::shared_ptr<void> on_room(std::function<void()> f) override;
  [[nodiscard]] WaitEstimate expected_wait(Instant now, const Ask& ask,
                                           const QueuedAhead& ahead) const override;
  [[nodiscard]] KeySnapshot snapshot(Instant now) const override;
  [[nodiscard]] std::string describe() const override;

 private:
  static constexpr std::uint32_t nobody = SharedHostState::max_seats;
  static constexpr std::uint32_t everybody = nobody + 1;

  void took_lock(const SharedHostState::Lock& lock);
  /// The seat of the first who waits, if that is another limiter and might go now. `slot_freed`:
  /// there was no slot before. With the lock held.
  [[nodiscard]] std::uint32_t who_may_go(Instant now, bool slot_freed) const;
  void ring(std::uint32_t who);

  const std::shared_ptr<SharedHost> host_;
  const SharedHost::Joined joined_;
};

}  // namespace moderato
