#include "impl/backend/inprocess/world.h"

#include <deque>

#include "impl/backend/inprocess/exchanges.h"
#include "impl/backend/inprocess/mailboxes.h"
#include "impl/core/check.h"

namespace holdfast::backend {

struct InProcessWorld::State {
  State(int world_size, std::size_t message_bytes_max) : mailboxes(world_size, message_bytes_max), exchanges(world_size) {
    for (int rank = 0; rank < world_size; ++rank) {
      nets.emplace_back(mailboxes, Rank{rank});
      planes.emplace_back(exchanges, Rank{rank});
    }
  }
  std::size_t index(Rank rank) const {
    CHECK(rank.value >= 0 && static_cast<std::size_t>(rank.value) < nets.size(), "rank {} of {}", rank, nets.size());
    return static_cast<std::size_t>(rank.value);
  }

  Mailboxes mailboxes;
  Exchanges exchanges;
  std::deque<InProcessNet> nets;
  std::deque<InProcessDataPlane> planes;
};

InProcessWorld::InProcessWorld(int world_size, InProcessOptions options) {
  CHECK(world_size > 0, "a world of {} ranks", world_size);
  state_ = std::make_unique<State>(world_size, options.message_bytes_max);
}
InProcessWorld::~InProcessWorld() = default;

int InProcessWorld::world_size() const { return state_->mailboxes.world_size(); }
port::Net& InProcessWorld::net(Rank rank) { return state_->nets[state_->index(rank)]; }
port::DataPlane& InProcessWorld::data(Rank rank) { return state_->planes[state_->index(rank)]; }

void InProcessWorld::leave(Rank rank) {
  state_->index(rank);
  state_->mailboxes.leave(rank);
  state_->exchanges.leave(rank);
}

}  // namespace holdfast::backend
