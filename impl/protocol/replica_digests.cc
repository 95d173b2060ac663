#include "impl/protocol/replica_digests.h"

#include <memory>
#include <set>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/protocol/device_wait.h"

namespace holdfast::protocol {
namespace {

/// The items of `held` that others write, all or in part.
std::vector<const WriteItem*> written_by_others(const SavePlan& held, const SavePlan& written) {
  std::set<std::pair<std::string_view, Box>> own;
  for (const WriteItem& item : written.items) own.emplace(item.index.fqn, item.chunk);
  std::vector<const WriteItem*> items;
  for (const WriteItem& item : held.items) {
    const bool has_bytes = item.type != WriteItemType::bytes && !item.chunk.empty();
    if (has_bytes && !own.contains({item.index.fqn, item.chunk})) items.push_back(&item);
  }
  return items;
}

Status enqueue(port::Device& device, SavePlanner& planner, const std::vector<const WriteItem*>& items,
               const std::shared_ptr<std::vector<TensorDigest>>& digests, port::StreamId stream) {
  std::vector<port::StageItem> digested;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const WriteItem& item = *items[i];
    const SavePlanner::Data source = TRY(planner.resolve_data(item));
    const auto* block = std::get_if<StridedBlock>(&source);
    if (!block || block->sizes != item.chunk.size || block->element_bytes != size_bytes(item.dtype)) {
      return fail(ErrorCode::invalid_argument, "compare replicas of {}: the planner's data is not a block of the item's size",
                  to_string(item.index));
    }
    digested.push_back({*block, item.chunk, item.shape, item.dtype, {}, &(*digests)[i]});
  }
  return device.stage(digested, digests, stream);
}

}  // namespace

Result<std::vector<plan::HeldBox>> digest_held_boxes(const port::Env& env, const TrainerWork& after, SavePlanner& planner,
                                                     const SavePlan& held, const SavePlan& written, port::Deadline deadline) {
  std::vector<const WriteItem*> items = written_by_others(held, written);
  if (MUTATE("replicas.last_box_skipped", false, !items.empty())) items.pop_back();
  std::vector<plan::HeldBox> boxes;
  if (items.empty()) return boxes;
  MARK("save.replicas_digested");
  const auto digests = std::make_shared<std::vector<TensorDigest>>(items.size());
  const port::StreamId stream = TRY(MUTATE("replicas.after_ignored", after, TrainerWork()).open_stream(env));
  const Status done = finish(env, stream, enqueue(env.device, planner, items, digests, stream), deadline);
  env.device.destroy_stream(stream);
  if (!done) return fail(within(done.error(), "compare replicas"));
  for (std::size_t i = 0; i < items.size(); ++i) boxes.push_back({items[i]->index.fqn, items[i]->chunk, (*digests)[i]});
  return boxes;
}

void encode(Encoder& out, const std::vector<plan::HeldBox>& boxes) {
  const auto put = [&](const Dims& dims) {
    for (const std::int64_t value : dims) out.varint(static_cast<std::uint64_t>(value));
  };
  out.varint(boxes.size());
  for (const plan::HeldBox& box : boxes) {
    out.text(box.fqn);
    out.varint(box.box.offset.size());
    put(box.box.offset);
    put(box.box.size);
    for (const std::uint64_t lane : box.digest.lanes) out.u64(lane);
  }
}

Result<std::vector<plan::HeldBox>> decode_held_boxes(Decoder& in) {
  constexpr std::size_t bytes_min = 18;  // an empty name, no dimension, two lanes
  std::vector<plan::HeldBox> boxes;
  for (std::size_t left = TRY(in.count(bytes_min)); left > 0; --left) {
    plan::HeldBox box;
    box.fqn = TRY(in.text());
    const std::size_t dims = TRY(in.count(2));
    for (Dims* numbers : {&box.box.offset, &box.box.size}) {
      numbers->resize(dims);
      for (std::int64_t& value : *numbers) value = static_cast<std::int64_t>(TRY(in.varint()));
    }
    for (std::uint64_t& lane : box.digest.lanes) lane = TRY(in.u64());
    boxes.push_back(std::move(box));
  }
  return boxes;
}

}  // namespace holdfast::protocol
