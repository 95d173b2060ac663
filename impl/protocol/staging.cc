#include "impl/protocol/staging.h"

#include "impl/core/mutate.h"

namespace holdfast::protocol {
namespace {

/// Creates a stream, lets `enqueue` fill it, waits for the end of it, and gives stream and event back in any case.
template <typename Enqueue>
Status on_a_stream(port::Device& device, port::Deadline deadline, Enqueue enqueue) {
  const port::StreamId stream = TRY(device.create_stream());
  Status status = enqueue(stream);
  // Waits also after an error: the copies that were enqueued before it use the caller's memory.
  Result<port::EventId> event = device.record(stream);
  if (event) {
    const Status waited = MUTATE("staging.skip_wait", device.synchronize(*event, deadline), Status());
    if (status) status = waited;
    device.destroy_event(*event);
  } else if (status) {
    status = fail(event.error());
  }
  device.destroy_stream(stream);
  return status;
}

TensorDigest staging_digest(const StagedBox& box) {
  return tensor_digest(packed_block(box.staging.data(), box.box.size, size_bytes(box.dtype)), box.box, box.shape, box.dtype);
}

Status compare(const std::vector<StagedBox>& boxes, const std::vector<TensorDigest>& device_digests, std::string_view doing) {
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const TensorDigest staged = staging_digest(boxes[i]);
    if (staged == device_digests[i]) continue;
    return fail(ErrorCode::corrupt, "{} box {}: staging has digest {}, the device {}", doing, to_string(boxes[i].box), to_string(staged),
                to_string(device_digests[i]));
  }
  return {};
}

}  // namespace

Result<std::vector<TensorDigest>> snapshot(port::Device& device, const std::vector<StagedBox>& boxes, std::shared_ptr<void> staging_owner,
                                           port::Deadline deadline) {
  const auto digests = std::make_shared<std::vector<TensorDigest>>(boxes.size());
  TRY(on_a_stream(device, deadline, [&](port::StreamId stream) -> Status {
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      const StagedBox& box = boxes[i];
      TRY(device.digest(box.block, box.box, box.shape, box.dtype, &(*digests)[i], digests, stream));
      TRY(device.copy_out(box.block, box.staging, staging_owner, stream));
    }
    return {};
  }));
  TRY(compare(boxes, *digests, "copy out"));
  return *digests;
}

Status upload(port::Device& device, const std::vector<StagedBox>& boxes, std::shared_ptr<void> staging_owner, port::Deadline deadline) {
  const auto digests = std::make_shared<std::vector<TensorDigest>>(boxes.size());
  TRY(on_a_stream(device, deadline, [&](port::StreamId stream) -> Status {
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      const StagedBox& box = boxes[i];
      TRY(device.copy_in(box.staging, staging_owner, box.block, stream));
      TRY(device.digest(box.block, box.box, box.shape, box.dtype, &(*digests)[i], digests, stream));
    }
    return {};
  }));
  return compare(boxes, *digests, "copy in");
}

}  // namespace holdfast::protocol
