// The data plane of a TcpWorld, for worlds without a better one: host memory in messages over the connections that Net uses too.
//
// Two ranks of an exchange first tell each other the sizes that they send and expect, then send the bytes in chunks, then say that all has
// come. A rank takes its peers in turn, a chunk each, so what it holds for a peer that is slower stays small, where
// both send; what is sent one way is taken in whole.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "impl/backend/tcp/links.h"
#include "impl/port/data_plane.h"

namespace holdfast::backend {

/// port::DataPlane, and more: exchanges of different names may run at the same time; under one name the sequence rises (invalid_argument).
/// An exchange may include transfers to oneself. What is sent is copied once.
class TcpDataPlane final : public port::DataPlane {
 public:
  explicit TcpDataPlane(Links& links) : links_(links) {}

  Status exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                  std::span<const port::Transfer> receives, port::Deadline deadline) override;
  void abort() override { links_.abort_data(); }

 private:
  struct Pieces {
    std::vector<ByteSpan> sends, receives;
  };
  using Peers = std::map<Rank, Pieces>;
  struct Exchange;
  struct LastUse {
    std::string name;
    std::uint64_t sequence = 0;
  };

  Status check(const std::string& label, std::span<const port::Transfer> transfers) const;
  Status claim(const std::string& label, std::string_view name, std::uint32_t channel, std::uint64_t sequence);
  Status run(Exchange& exchange);

  Links& links_;
  std::mutex mutex_;
  std::map<std::uint32_t, LastUse> used_;  // by channel
};

}  // namespace holdfast::backend
