#include <moderato/core/fiber_await.hpp>

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <moderato/core/loop.hpp>
#include <support/sanitizers.hpp>

namespace moderato {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

TEST_CASE("a fiber waits on a socket as if it blocked") {
  Runtime runtime;
  runtime.block_on([&] {
    auto& io = Loop::current()->io();
    tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
    auto server = runtime.spawn([&] {
      tcp::socket peer(io);
      acceptor.async_accept(peer, use_fiber);
      std::array<char, 5> word{};
      asio::async_read(peer, asio::buffer(word), use_fiber);
      asio::async_write(peer, asio::buffer(word), use_fiber);
    });
    tcp::socket client(io);
    client.async_connect(acceptor.local_endpoint(), use_fiber);
    CHECK(asio::async_write(client, asio::buffer("hello", 5), use_fiber) == 5);
    std::array<char, 5> echo{};
    CHECK(asio::async_read(client, asio::buffer(echo), use_fiber) == 5);
    CHECK(std::string_view(echo.data(), 5) == "hello");
    boost::system::error_code error;
    client.async_read_some(asio::buffer(echo), use_fiber[error]);
    CHECK(error == asio::error::eof);
    server.join();
  });
}

TEST_CASE("a socket error is thrown unless it is asked for") {
  Runtime runtime;
  runtime.block_on([&] {
    auto& io = Loop::current()->io();
    tcp::socket closed(io);
    std::array<char, 1> byte{};
    CHECK_THROWS_AS(closed.async_read_some(asio::buffer(byte), use_fiber),
                    boost::system::system_error);
  });
}

TEST_CASE("a stop token and the cancellation of the fiber cancel the socket operation") {
  Runtime runtime;
  std::stop_source stop;
  WaitPoint waiting("both fibers to wait");
  auto read_for_ever = [&](std::stop_token token) {
    auto& io = Loop::current()->io();
    asio::local::stream_protocol::socket left(io);
    asio::local::stream_protocol::socket right(io);
    asio::local::connect_pair(left, right);
    std::array<char, 1> byte{};
    boost::system::error_code error;
    left.async_read_some(asio::buffer(byte), use_fiber[error](std::move(token)));
    return error;
  };
  auto by_token = runtime.spawn([&] { return read_for_ever(stop.get_token()); });
  auto by_cancel = runtime.spawn([&] { return read_for_ever({}); });
  stop.request_stop();
  CHECK(by_token.join() == asio::error::operation_aborted);
  by_cancel.cancel();
  CHECK(by_cancel.join() == asio::error::operation_aborted);
}

TEST_CASE("10,000 fibers wait on real sockets at once") {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  const std::size_t count = test::thread_sanitizer ? 1'000 : 10'000;
  REQUIRE(limit.rlim_cur > count + 64);

  Runtime runtime;
  runtime.block_on([&] {
    auto& io = Loop::current()->io();
    asio::ip::udp::socket hub(io, {asio::ip::address_v4::loopback(), 0});
    std::vector<asio::ip::udp::socket> sockets;
    std::vector<Task<char>> tasks;
    for (std::size_t i = 0; i < count; ++i) {
      sockets.emplace_back(io, asio::ip::udp::endpoint(asio::ip::address_v4::loopback(), 0));
    }
    for (std::size_t i = 0; i < count; ++i) {
      tasks.push_back(runtime.spawn([&sockets, i] {
        char byte = 0;
        sockets[i].async_receive(asio::buffer(&byte, 1), use_fiber);
        return byte;
      }));
    }
    while (runtime.stats().fibers < count + 1) yield_fiber();
    yield_fiber();  // now all of them wait
    for (std::size_t i = 0; i < count; ++i) {
      const char byte = static_cast<char>('a' + i % 26);
      hub.send_to(asio::buffer(&byte, 1), sockets[i].local_endpoint());
    }
    std::size_t right = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (tasks[i].join() == static_cast<char>('a' + i % 26)) ++right;
    }
    CHECK(right == count);
  });
}

}  // namespace
}  // namespace moderato
