#pragma once

// Private header of the library: not installed.

#include <functional>
#include <stop_token>
#include <string>

#include <moderato/core/result.hpp>
#include <moderato/core/runtime.hpp>

namespace moderato {

/// A piece of blocking work that gives a text. It should end soon after its stop token is
/// triggered.
using TextJob = std::function<Result<std::string>(const std::stop_token&)>;

/// Runs `job` on the worker pool and waits for its text, but no longer than until `deadline`
/// (deadline_exceeded) or `stop` (cancelled). The job's own stop token is triggered then, and it is
/// left to end by itself: it must own what it uses. What it throws is an `internal` error.
[[nodiscard]] Result<std::string> call_on_worker(Runtime& runtime, TextJob job, Instant deadline,
                                                 const std::stop_token& stop);

}  // namespace moderato
