#include "impl/backend/tcp/socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "impl/backend/posix/posix_error.h"

namespace holdfast::backend {
namespace {

constexpr const char* loopback_names[] = {"localhost", "127.0.0.1"};
constexpr const char* loopback6_name = "::1";

Status set_option(const Fd& fd, int level, int option, int value, const char* name) {
  if (::setsockopt(fd.get(), level, option, &value, sizeof value) == 0) return {};
  return system_error(errno, "set {} of a socket to {}", name, value);
}

template <typename T>
T address_as(const sockaddr* data) {
  T result;
  std::memcpy(&result, data, sizeof result);
  return result;
}

Address of_ipv4(in_addr host, in_port_t port) {
  sockaddr_in plain{};
  plain.sin_family = AF_INET;
  plain.sin_addr = host;
  plain.sin_port = port;
  return *Address::from_system(reinterpret_cast<const sockaddr*>(&plain), sizeof plain);
}

Result<Fd> listen_on(const Address& address, bool both_families) {
  Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return system_error(errno, "make a socket to listen at {}", to_string(address));
  TRY(set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  if (both_families) TRY(set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0, "IPV6_V6ONLY"));
  if (::bind(fd.get(), address.data(), address.size()) == 0 && ::listen(fd.get(), SOMAXCONN) == 0) return fd;
  const int problem = errno;
  auto failed = system_error(problem, "listen at {}", to_string(address));
  if (problem == EADDRINUSE) failed.value().code = ErrorCode::already_exists;
  return failed;
}

bool is_connected_to_itself(const Fd& fd) {
  sockaddr_storage own{}, peer{};
  socklen_t own_size = sizeof own, peer_size = sizeof peer;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&own), &own_size) != 0) return false;
  if (::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0) return false;
  return own_size == peer_size && std::memcmp(&own, &peer, own_size) == 0;
}

/// What resolve() shares with its thread.
struct Lookup {
  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;
  int problem = 0;
  int problem_errno = 0;
  std::vector<Address> found;
};

void look_up(Lookup& lookup, const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int problem = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  const int problem_errno = errno;
  const std::scoped_lock lock(lookup.mutex);
  lookup.done = true;
  lookup.problem = problem;
  lookup.problem_errno = problem_errno;
  for (const addrinfo* entry = problem == 0 ? list : nullptr; entry; entry = entry->ai_next) {
    if (const auto address = Address::from_system(entry->ai_addr, entry->ai_addrlen)) lookup.found.push_back(address->with_port(port));
  }
  if (problem == 0) ::freeaddrinfo(list);
  lookup.ended.notify_all();
}

}  // namespace

void Fd::reset() {
  if (number_ >= 0) ::close(number_);
  number_ = -1;
}

std::optional<Address> Address::from_system(const sockaddr* data, socklen_t size) {
  if (data->sa_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    const auto six = address_as<sockaddr_in6>(data);
    if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {
      in_addr four;
      std::memcpy(&four, six.sin6_addr.s6_addr + 12, sizeof four);
      return of_ipv4(four, six.sin6_port);
    }
  } else if (data->sa_family != AF_INET || size < sizeof(sockaddr_in)) {
    return std::nullopt;
  }
  Address address;
  std::memcpy(&address.storage_, data, std::min<std::size_t>(size, sizeof address.storage_));
  address.size_ = size;
  return address;
}

Result<Address> Address::parse(const std::string& host, std::uint16_t port) {
  in_addr four{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1) return of_ipv4(four, htons(port));
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  if (::inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) != 1) {
    return fail(ErrorCode::invalid_argument, "\"{}\" is no numeric address", host);
  }
  return *from_system(reinterpret_cast<const sockaddr*>(&six), sizeof six);
}

std::string Address::host() const {
  char text[INET6_ADDRSTRLEN] = "?";
  if (family() == AF_INET) {
    const auto four = address_as<sockaddr_in>(data());
    ::inet_ntop(AF_INET, &four.sin_addr, text, sizeof text);
  } else if (family() == AF_INET6) {
    const auto six = address_as<sockaddr_in6>(data());
    ::inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
  }
  return text;
}

std::uint16_t Address::port() const {
  if (family() == AF_INET) return ntohs(address_as<sockaddr_in>(data()).sin_port);
  return family() == AF_INET6 ? ntohs(address_as<sockaddr_in6>(data()).sin6_port) : std::uint16_t{0};
}

bool Address::loopback() const {
  if (family() == AF_INET) return (ntohl(address_as<sockaddr_in>(data()).sin_addr.s_addr) >> 24) == 127;
  const auto six = address_as<sockaddr_in6>(data());
  return family() == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&six.sin6_addr);
}

Address Address::with_port(std::uint16_t port) const {
  Address other = *this;
  if (family() == AF_INET) {
    auto four = address_as<sockaddr_in>(data());
    four.sin_port = htons(port);
    std::memcpy(&other.storage_, &four, sizeof four);
  } else if (family() == AF_INET6) {
    auto six = address_as<sockaddr_in6>(data());
    six.sin6_port = htons(port);
    std::memcpy(&other.storage_, &six, sizeof six);
  }
  return other;
}

std::string to_string(const Address& address) {
  if (address.family() == AF_INET6) return fmt::format("[{}]:{}", address.host(), address.port());
  return fmt::format("{}:{}", address.host(), address.port());
}

Result<std::vector<Address>> resolve(const std::string& host, std::uint16_t port, port::Deadline deadline) {
  const auto lookup = std::make_shared<Lookup>();
  try {
    std::thread([lookup, host, port] { look_up(*lookup, host, port); }).detach();
  } catch (const std::system_error& refused) {
    return fail(ErrorCode::io_error, "look up host {}: start a thread: {}", host, refused.code().message());
  }
  std::unique_lock lock(lookup->mutex);
  const std::chrono::steady_clock::time_point until(deadline.at.time_since_epoch());
  if (!lookup->ended.wait_until(lock, until, [&] { return lookup->done; })) {
    return fail(ErrorCode::timeout, "look up host {}: no answer by the deadline", host);
  }
  if (lookup->problem == EAI_SYSTEM) return system_error(lookup->problem_errno, "look up host {}", host);
  if (lookup->problem != 0) return fail(ErrorCode::not_found, "look up host {}: {}", host, ::gai_strerror(lookup->problem));
  if (lookup->found.empty()) return fail(ErrorCode::not_found, "look up host {}: it has no IPv4 or IPv6 address", host);
  return lookup->found;
}

Result<Fd> listen_at(const std::string& host, std::uint16_t port) {
  if (host == loopback6_name) return listen_on(TRY(Address::parse(host, port)), false);
  for (const char* name : loopback_names) {
    if (host == name) return listen_on(TRY(Address::parse("127.0.0.1", port)), false);
  }
  Result<Fd> both = listen_on(TRY(Address::parse("::", port)), true);
  if (both) return both;
  return listen_on(TRY(Address::parse("0.0.0.0", port)), false);  // a system without IPv6; if it was not that, this fails as well
}

Result<Address> local_address(const Fd& fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) return system_error(errno, "ask a socket its address");
  const auto address = Address::from_system(reinterpret_cast<const sockaddr*>(&storage), size);
  if (!address) return fail(ErrorCode::io_error, "ask a socket its address: family {}; expected IPv4 or IPv6", storage.ss_family);
  return *address;
}

int begin_connect(const Address& to, Fd& fd) {
  fd = Fd(::socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  if (::connect(fd.get(), to.data(), to.size()) == 0 || errno == EINPROGRESS || errno == EINTR) return 0;
  return errno;
}

int connect_result(const Fd& fd) {
  int problem = 0;
  socklen_t size = sizeof problem;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &problem, &size) != 0) return errno;
  return problem == 0 && is_connected_to_itself(fd) ? ECONNREFUSED : problem;
}

Status configure(const Fd& fd, port::Duration limit) {
  const auto ms = std::max<std::int64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(limit).count(), 6000);
  const int seconds = static_cast<int>(std::min<std::int64_t>(ms / 1000, 3600));
  TRY(set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"));
  TRY(set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE"));
  TRY(set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds / 3, "TCP_KEEPIDLE"));
  TRY(set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds / 6, "TCP_KEEPINTVL"));
  TRY(set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4, "TCP_KEEPCNT"));
  return set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, seconds * 1000, "TCP_USER_TIMEOUT");
}

ssize_t receive_some(const Fd& fd, void* data, std::size_t bytes) {
  const ssize_t moved = uninterrupted([&] { return ::recv(fd.get(), data, bytes, MSG_DONTWAIT); });
  return moved >= 0 ? moved : -errno;
}

ssize_t send_some(const Fd& fd, const iovec* parts, std::size_t count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  const ssize_t moved = uninterrupted([&] { return ::sendmsg(fd.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL); });
  return moved >= 0 ? moved : -errno;
}

}  // namespace holdfast::backend
