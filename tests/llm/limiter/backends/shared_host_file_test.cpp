#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <cstddef>
#include <fstream>
#include <functional>
#include <memory>
#include <moderato/llm/limiter/backends/shared_host_file.hpp>
#include <string>
#include <vector>

#include <support/temporary_folder.hpp>
#include "child_process.hpp"

namespace moderato {
namespace {

using test::ChildProcess;
using test::Pipe;
using test::TemporaryFolder;

SharedHostFile::Layout layout(std::byte first = std::byte{7}) {
  return {.version = 3, .size = 5000, .make = [first](std::byte* at) { at[0] = first; }};
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

/// The error of opening a file that is like a good one but for what `damage` does to its bytes.
Error error_after(const std::function<void(std::string&)>& damage) {
  const TemporaryFolder folder;
  const std::string path = folder.file("quota");
  REQUIRE(SharedHostFile::open(path, layout()));
  std::string bytes = text_of(path);
  damage(bytes);
  write(path, bytes);
  const auto opened = SharedHostFile::open(path, layout());
  REQUIRE(!opened);
  CHECK(text_of(path) == bytes);  // left as it was
  return opened.error();
}

TEST_CASE("the first opener makes the file, whole; the next sees what the first wrote") {
  const TemporaryFolder folder;
  const std::string path = folder.file("quota");
  const auto first = SharedHostFile::open(path, layout(std::byte{1}));
  REQUIRE(first);
  (*first)->data()[4999] = std::byte{42};
  const auto second = SharedHostFile::open(path, layout(std::byte{2}));
  REQUIRE(second);
  CHECK((*second)->data()[0] == std::byte{1});
  CHECK((*second)->data()[4999] == std::byte{42});
  CHECK(folder.files() == 1);
}

TEST_CASE("processes that make the file at the same time get the same one") {
  const TemporaryFolder folder;
  const std::string path = folder.file("quota");
  Pipe inodes;
  std::vector<std::unique_ptr<ChildProcess>> children;
  for (int i = 0; i < 8; ++i) {
    children.push_back(std::make_unique<ChildProcess>([&] {
      const auto file = SharedHostFile::open(path, layout());
      if (!file) return 1;
      // Each adds itself to the same word.
      reinterpret_cast<std::atomic<int>*>((*file)->data() + 64)->fetch_add(1);
      return 0;
    }));
  }
  for (auto& child : children) CHECK(child->wait() == 0);
  const auto file = SharedHostFile::open(path, layout());
  REQUIRE(file);
  CHECK(*reinterpret_cast<int*>((*file)->data() + 64) == 8);
  CHECK(folder.files() == 1);
}

TEST_CASE("a file of an earlier boot is replaced") {
  const TemporaryFolder folder;
  const std::string path = folder.file("quota");
  auto earlier = layout(std::byte{1});
  earlier.boot = "earlier";
  REQUIRE(SharedHostFile::open(path, earlier));
  auto now = layout(std::byte{2});
  now.boot = "now";
  CHECK(SharedHostFile::open_existing(path, now).error().code == ErrorCode::not_found);
  const auto file = SharedHostFile::open(path, now);
  REQUIRE(file);
  CHECK((*file)->data()[0] == std::byte{2});
  CHECK(folder.files() == 1);
}

TEST_CASE("a file that is not ours is an error that says so, and is left alone") {
  const Error error = error_after([](std::string& bytes) { bytes = "dear diary"; });
  CHECK(error.code == ErrorCode::configuration);
  CHECK(error.message.find("is not a file of a shared quota") != std::string::npos);
}

TEST_CASE("an empty file is not ours either") {
  CHECK(error_after([](std::string& bytes) { bytes.clear(); }).code == ErrorCode::configuration);
}

TEST_CASE("a file of a newer version is an error that says so") {
  const Error error = error_after([](std::string& bytes) { bytes[16] = 2; });
  CHECK(error.message.find("newer version (format 2.3; this one knows 1.3)") != std::string::npos);
}

TEST_CASE("a damaged header and a cut file are errors that say so") {
  CHECK(error_after([](std::string& bytes) {
          bytes[33] ^= 1;
        }).message.find("damaged (its header)") != std::string::npos);
  CHECK(error_after([](std::string& bytes) {
          bytes.resize(9000);
        }).message.find("is damaged (9000 bytes, not 9096)") != std::string::npos);
  CHECK(error_after([](std::string& bytes) { bytes.resize(20); }).message.find("damaged") !=
        std::string::npos);
}

TEST_CASE("a file of another layout is an error that says so") {
  const TemporaryFolder folder;
  const std::string path = folder.file("quota");
  REQUIRE(SharedHostFile::open(path, layout()));
  auto other = layout();
  other.size = 6000;
  const auto opened = SharedHostFile::open(path, other);
  REQUIRE(!opened);
  CHECK(opened.error().message.find("another version or build") != std::string::npos);
}

TEST_CASE("a folder, a path that cannot be and a file that is not there are errors") {
  const TemporaryFolder folder;
  CHECK(SharedHostFile::open(folder.file("."), layout()).error().code == ErrorCode::storage);
  CHECK(SharedHostFile::open(folder.file("no/such/folder"), layout()).error().code ==
        ErrorCode::storage);
  CHECK(SharedHostFile::open_existing(folder.file("none"), layout()).error().code ==
        ErrorCode::not_found);
  CHECK(folder.files() == 0);
}

TEST_CASE("a seat has one holder, and is free when its holder's process is killed") {
  const TemporaryFolder folder;
  const std::string path = folder.file("quota");
  const auto file = SharedHostFile::open(path, layout());
  REQUIRE(file);
  Pipe ready;
  ChildProcess child([&] {
    const auto own = SharedHostFile::open(path, layout());
    if (!own || !(*own)->take_seat(5)) return 1;
    ready.send(1);
    for (;;) ::pause();
  });
  ready.receive();
  CHECK((*file)->seat_taken_elsewhere(5));
  CHECK_FALSE((*file)->take_seat(5));
  CHECK_FALSE((*file)->seat_taken_elsewhere(6));
  child.kill();
  CHECK_FALSE((*file)->seat_taken_elsewhere(5));
  CHECK((*file)->take_seat(5));
}

}  // namespace
}  // namespace moderato
