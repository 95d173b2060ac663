#include "impl/backend/tcp/world.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

#include "impl/backend/tcp/data_plane.h"
#include "impl/backend/tcp/reactor.h"
#include "impl/core/encoding.h"
#include "impl/core/mark.h"

namespace holdfast::backend {
namespace {

constexpr port::Tag table_tag{0, 1};

class TcpNet final : public port::Net {
 public:
  explicit TcpNet(Links& links) : links_(links) {}

  Rank rank() const override { return links_.self(); }
  int world_size() const override { return links_.world_size(); }
  std::size_t max_message_bytes() const override { return links_.options().message_bytes_max; }
  Status send(Rank to, port::Tag tag, SharedBytes message, port::Deadline deadline) override {
    TRY(links_.check_peer("send to", to));
    if (message.size() > max_message_bytes()) {
      return fail(ErrorCode::invalid_argument, "send to rank {}: a message of {} bytes, at most {} are allowed", to, message.size(),
                  max_message_bytes());
    }
    return links_.send(FrameKind::message, to, tag, std::move(message), deadline);
  }
  Result<SharedBytes> receive(Rank from, port::Tag tag, port::Deadline deadline) override {
    return links_.receive(FrameKind::message, from, tag, deadline);
  }

 private:
  Links& links_;
};

/// Rank 0, once everybody has come, tells everybody where the others listen.
Status tell_table(Links& links, port::Deadline deadline) {
  Encoder out;
  for (Rank rank{1}; rank.value < links.world_size(); ++rank.value) {
    const Address address = links.address_of(rank);
    out.text(address.host());
    out.varint(address.port());
  }
  const SharedBytes table(out.take());
  for (Rank rank{1}; rank.value < links.world_size(); ++rank.value) TRY(links.send(FrameKind::table, rank, table_tag, table, deadline));
  return {};
}

Status hear_table(Links& links, port::Deadline deadline) {
  const Result<SharedBytes> table = links.receive(FrameKind::table, Rank{0}, table_tag, deadline);
  if (!table && table.error().code == ErrorCode::timeout && links.is_up(Rank{0})) {
    return fail(ErrorCode::timeout, "rank 0 still waits for other ranks at the deadline");
  }
  if (!table) return fail(table.error());
  const Address rank0 = links.address_of(Rank{0});
  Decoder in(table->view(), "rank 0's table of addresses");
  for (Rank rank{1}; rank.value < links.world_size(); ++rank.value) {
    std::string host = TRY(in.text());
    const std::uint64_t port = TRY(in.varint());
    if (port > std::numeric_limits<std::uint16_t>::max()) {
      return fail(ErrorCode::corrupt, "rank 0's table of addresses: port {} of rank {}; expected at most 65535", port, rank);
    }
    Address address = TRY(Address::parse(host, static_cast<std::uint16_t>(port)));
    // Who called rank 0 from its own host is known by a loopback address there, which means this host here.
    if (address.loopback() && !rank0.loopback()) address = rank0.with_port(address.port());
    if (rank != links.self()) links.set_addresses(rank, {address});
  }
  return in.finish();
}

/// The port of a launcher may be one that the system gave to another process for a while, as its own end of a connection.
Result<Fd> listen_when_free(const std::string& host, std::uint16_t port, port::Deadline deadline) {
  constexpr std::chrono::milliseconds pause{100};
  const std::chrono::steady_clock::time_point until(deadline.at.time_since_epoch());
  while (true) {
    Result<Fd> listener = listen_at(host, port);
    if (listener || listener.error().code != ErrorCode::already_exists || std::chrono::steady_clock::now() >= until) return listener;
    MARK("tcp.port_in_use");
    std::this_thread::sleep_until(std::min(std::chrono::steady_clock::now() + pause, until));
  }
}

}  // namespace

struct TcpWorld::State {
  explicit State(std::unique_ptr<Links> the_links) : links(std::move(the_links)), net(*links), data(*links) {}

  Status join(const Rendezvous& rendezvous, port::Deadline deadline, Fd listener);

  std::unique_ptr<Links> links;
  std::unique_ptr<Reactor> reactor;
  TcpNet net;
  TcpDataPlane data;
};

Status TcpWorld::State::join(const Rendezvous& rendezvous, port::Deadline deadline, Fd listener) {
  if (rendezvous.world_size == 1) return {};
  const JobKey key = TRY(JobKey::make(rendezvous.secret, rendezvous.job_id));
  const bool first = rendezvous.rank == Rank{0};
  if (!listener) listener = TRY(listen_when_free(rendezvous.master_address, first ? rendezvous.port : std::uint16_t{0}, deadline));
  if (!first) links->set_addresses(Rank{0}, TRY(resolve(rendezvous.master_address, rendezvous.port, deadline)));
  reactor = TRY(Reactor::start(*links, key, std::move(listener)));
  TRY(first ? links->await_everybody(deadline) : hear_table(*links, deadline));
  links->gathered();
  return first ? tell_table(*links, deadline) : Status();
}

Result<std::unique_ptr<TcpWorld>> TcpWorld::join(const Rendezvous& rendezvous, const TcpOptions& options, port::Deadline deadline,
                                                 Fd listener) {
  if (options.message_bytes_max == 0 || options.message_bytes_max > std::numeric_limits<std::uint32_t>::max()) {
    return fail(ErrorCode::invalid_argument, "join the job: messages of {} bytes at most; expected 1 to 4294967295",
                options.message_bytes_max);
  }
  auto state = std::make_unique<State>(TRY(Links::make(rendezvous.rank, rendezvous.world_size, options)));
  Status joined = state->join(rendezvous, deadline, std::move(listener));
  if (!joined) return fail(within(std::move(joined).error(), "join the job, {}", describe(rendezvous)));
  return std::unique_ptr<TcpWorld>(new TcpWorld(std::move(state)));
}

TcpWorld::TcpWorld(std::unique_ptr<State> state) : state_(std::move(state)) {}
TcpWorld::~TcpWorld() = default;

Rank TcpWorld::rank() const { return state_->links->self(); }
int TcpWorld::world_size() const { return state_->links->world_size(); }
port::Net& TcpWorld::net() { return state_->net; }
port::DataPlane& TcpWorld::data() { return state_->data; }
Status TcpWorld::leave(port::Deadline deadline) { return state_->links->leave(deadline); }

}  // namespace holdfast::backend
