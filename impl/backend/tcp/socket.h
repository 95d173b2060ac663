// Sockets: descriptors with an owner, addresses, and the calls on them. Nothing here waits, but for resolve().
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "impl/core/error.h"
#include "impl/port/clock.h"

namespace holdfast::backend {

/// Owns a descriptor. -1 is none.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int number) : number_(number) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  int get() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }
  void reset();

 private:
  int number_ = -1;
};

/// An IPv4 or IPv6 address with a port; IPv4 within IPv6 is IPv4.
class Address {
 public:
  Address() = default;
  static std::optional<Address> from_system(const sockaddr* data, socklen_t size);
  /// Errors: invalid_argument for what is no numeric address.
  static Result<Address> parse(const std::string& host, std::uint16_t port);

  std::string host() const;  ///< numeric
  std::uint16_t port() const;
  bool loopback() const;
  Address with_port(std::uint16_t port) const;
  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }
  int family() const { return storage_.ss_family; }

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};
std::string to_string(const Address& address);  ///< "10.0.0.3:4000", "[fe80::1]:4000"

/// The addresses of a host, at least one. Asks the system's resolver on a thread of its own, which is left behind at the deadline.
/// Errors: not_found with the resolver's reason; timeout; io_error when no thread can be started.
Result<std::vector<Address>> resolve(const std::string& host, std::uint16_t port, port::Deadline deadline);

/// Listens at `port` (0: one that the system picks): on the loopback address when `host` is one by its name, else on all addresses.
/// Errors: already_exists when the address is in use; io_error.
Result<Fd> listen_at(const std::string& host, std::uint16_t port);
/// Where a socket listens, or its end of a connection. Errors: io_error.
Result<Address> local_address(const Fd& fd);

/// Begins to connect; `fd` is writable once that has ended, see connect_result(). 0, or an errno: it ended at once.
int begin_connect(const Address& to, Fd& fd);
/// How begin_connect() ended: 0 or an errno. A call that the system connected to itself was refused: nobody listens there, and the port is one that it
/// drew for the calling end.
int connect_result(const Fd& fd);

/// Sets what every connection has: no delay of small messages; the system ends it, for who vanished without a word, after about `limit`
/// without a sign of life. A host that is up answers for a process that is stopped, as long as that one has room for what it is sent.
Status configure(const Fd& fd, port::Duration limit);

/// recv and send: bytes moved; 0 from receive_some is the end of the stream; -errno. Never blocks, never raises SIGPIPE.
ssize_t receive_some(const Fd& fd, void* data, std::size_t bytes);
ssize_t send_some(const Fd& fd, const iovec* parts, std::size_t count);

}  // namespace holdfast::backend
