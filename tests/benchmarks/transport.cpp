// CPU of one HTTP exchange: moderato's transport beside a bare libcurl loop, by turns in one run,
// against the same server. Run it on a quiet machine: bench_transport [ROUNDS].

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <moderato/core/runtime.hpp>
#include <moderato/llm/http/http_client.hpp>
#include <moderato/llm/http/sse_parser.hpp>
#include <numeric>
#include <vector>

#include "benchmarks/process_figures.hpp"
#include "benchmarks/raw_curl.hpp"
#include "support/load_server.hpp"

namespace {

using namespace moderato;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Work {
  std::string url;
  std::vector<std::string> bodies;
  std::size_t concurrency;
  std::size_t requests;
};

const std::vector<HttpHeader>& headers() {
  static const std::vector<HttpHeader> all{{"Content-Type", "application/json"},
                                           {"Authorization", "Bearer sk-0123456789abcdef"}};
  return all;
}

double raw_cpu_us(const Work& work, std::size_t per_multi) {
  bench::RawCurlOptions options{
      .url = work.url, .concurrency = work.concurrency, .per_multi = per_multi};
  for (const HttpHeader& header : headers()) {
    options.headers.push_back(header.name + ": " + header.value);
  }
  const double before = bench::cpu_seconds();
  const bench::RawCurlResult result = bench::run_raw_curl(options, work.bodies, work.requests);
  const double cpu = bench::cpu_seconds() - before;
  if (result.failed > 0) fmt::print("  raw: {} failed\n", result.failed);
  return cpu * 1e6 / static_cast<double>(work.requests);
}

double transport_cpu_us(const Work& work) {
  const double before = bench::cpu_seconds();
  std::size_t failed = 0;
  {
    Runtime runtime({.threads = 0});
    runtime.block_on([&] {
      std::size_t started = 0;
      std::vector<Task<void>> tasks;
      for (std::size_t i = 0; i < work.concurrency; ++i) {
        tasks.push_back(runtime.spawn([&] {
          HttpRequest request{.url = work.url, .headers = headers()};
          while (started < work.requests) {
            request.body = work.bodies[started++ % work.bodies.size()];
            const HttpOutcome outcome = send_http(request);
            if (!outcome.result || outcome.response.status != 200) ++failed;
          }
        }));
      }
      for (auto& task : tasks) task.join();
    });
  }
  const double cpu = bench::cpu_seconds() - before;
  if (failed > 0) fmt::print("  transport: {} failed\n", failed);
  return cpu * 1e6 / static_cast<double>(work.requests);
}

void compare(const Work& work, std::size_t rounds) {
  std::vector<double> raw;
  std::vector<double> sharded;
  std::vector<double> ours;
  std::vector<double> ratios;
  std::vector<double> sharded_ratios;
  for (std::size_t round = 0; round < rounds; ++round) {
    raw.push_back(raw_cpu_us(work, 0));
    sharded.push_back(raw_cpu_us(work, 64));
    ours.push_back(transport_cpu_us(work));
    ratios.push_back(ours.back() / raw.back());
    sharded_ratios.push_back(ours.back() / sharded.back());
  }
  fmt::print(
      "c={:<5} raw {:6.1f} us, raw with 64 connections a multi {:6.1f} us, transport "
      "{:6.1f} us, ratios {:.2f} and {:.2f}\n",
      work.concurrency, median(raw), median(sharded), median(ours), median(ratios),
      median(sharded_ratios));
}

void measure_events() {
  constexpr int chunks = 1000;
  std::string stream;
  for (int i = 0; i < chunks; ++i) {
    stream += fmt::format(
        "data: "
        "{{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":"
        "\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word {}\"}},\"finish_reason\":"
        "null}}]}}\n\n",
        i);
  }
  constexpr int rounds = 200;
  std::size_t events = 0;
  const auto count = [&](const SseEvent&) -> Result<void> {
    ++events;
    return {};
  };
  const auto run = [&](std::size_t piece) {
    const double before = bench::cpu_seconds();
    for (int round = 0; round < rounds; ++round) {
      SseParser parser;
      const std::string_view rest = stream;
      for (std::size_t at = 0; at < rest.size(); at += piece) {
        (void)parser.feed(rest.substr(at, piece), count);
      }
    }
    return (bench::cpu_seconds() - before) * 1e6 / (rounds * chunks);
  };
  const double packets = run(stream.size() / chunks);
  const double together = run(8192);
  fmt::print("server-sent events: {:.3f} us a chunk in packets of its size, {:.3f} us in 8 KiB\n",
             packets, together);
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t rounds = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 5;
  bench::raise_descriptor_limit();
  const test::LoadServer server({.body = std::string(700, 'a')});
  Work work{
      .url = server.url(), .bodies = {std::string(1600, 'q')}, .concurrency = 1, .requests = 0};
  for (const auto& [concurrency, requests] :
       {std::pair{1UL, 20'000UL}, {64UL, 40'000UL}, {1000UL, 40'000UL}, {4000UL, 40'000UL}}) {
    work.concurrency = concurrency;
    work.requests = requests;
    compare(work, rounds);
  }
  measure_events();
}
