#include "memory_storage.h"

namespace example {

void Store::put(const std::string& key, Bytes value) {
  const BlockDigest digest = block_digest(value);
  const std::lock_guard lock(mutex_);
  blobs_[key] = {std::move(value), digest};
}

Result<Bytes> Store::get(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto blob = blobs_.find(key);
  if (blob == blobs_.end()) return fail(ErrorCode::not_found, "blob \"{}\" is not in the store", key);
  if (block_digest(blob->second.bytes) == blob->second.digest) return blob->second.bytes;
  return fail(ErrorCode::corrupt, "blob \"{}\": {} bytes with another digest than they were put with", key, blob->second.bytes.size());
}

void Store::commit(Metadata metadata) {
  const std::lock_guard lock(mutex_);
  committed_ = std::move(metadata);
}

std::optional<Metadata> Store::committed() const {
  const std::lock_guard lock(mutex_);
  return committed_;
}

void Store::damage(const std::string& key) {
  const std::lock_guard lock(mutex_);
  blobs_.at(key).bytes.front() ^= std::byte{1};
}

std::vector<std::string> Store::keys() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> keys;
  for (const auto& [key, blob] : blobs_) keys.push_back(key);
  return keys;
}

Result<protocol::Writing> MemoryWriter::write_data(SavePlan plan, std::shared_ptr<protocol::SavePlanner> planner) {
  std::vector<WriteResult> results;
  for (const WriteItem& item : plan.items) {
    const protocol::SavePlanner::Data source = HOLDFAST_TRY(planner->resolve_data(item));
    Bytes bytes;
    if (const auto* tensor = std::get_if<StridedBlock>(&source)) {
      bytes.resize(tensor->bytes());
      copy_block(*tensor, packed_block(bytes.data(), tensor->sizes, tensor->element_bytes));
    } else {
      bytes = to_bytes(std::get<ByteView>(source));
    }
    results.push_back({item.index, bytes.size(), {}});
    store_.put(to_string(item.index), std::move(bytes));
  }
  return protocol::Writing{port::Future<void>::ready(Status()), port::Future<std::vector<WriteResult>>::ready(std::move(results))};
}

Status MemoryWriter::finish(const Metadata& metadata, const std::vector<std::vector<WriteResult>>& /*results*/) {
  store_.commit(metadata);
  return {};
}

Result<Metadata> MemoryReader::read_metadata(const protocol::Role& /*role*/) {
  auto metadata = store_.committed();
  if (!metadata) return fail(ErrorCode::not_found, "the store holds no checkpoint");
  return *std::move(metadata);
}

Status MemoryReader::set_up_storage_reader(const Metadata& metadata, const protocol::Role& /*role*/) {
  metadata_ = metadata;
  return {};
}

Result<port::Future<void>> MemoryReader::read_data(LoadPlan plan, std::shared_ptr<protocol::LoadPlanner> planner) {
  for (const ReadItem& item : plan.items) HOLDFAST_TRY(read(item, *planner));
  return port::Future<void>::ready(Status());
}

/// Copies the part of a stored chunk that the item names to where the planner wants it.
Status MemoryReader::read(const ReadItem& item, protocol::LoadPlanner& planner) const {
  Bytes bytes = HOLDFAST_TRY(store_.get(to_string(item.storage_index)));
  if (item.type == ReadItemType::bytes) return planner.load_bytes(item, std::move(bytes));
  const auto& tensor = std::get<TensorMetadata>(metadata_.entries.at(item.storage_index.fqn));
  const auto chunk = tensor.chunks.find(item.storage_index.offset.value());
  if (!chunk) return fail(ErrorCode::corrupt, "the metadata has no chunk {}", to_string(item.storage_index));
  const StridedBlock stored = packed_block(bytes.data(), tensor.chunks.box(*chunk).size, size_bytes(tensor.dtype));
  copy_block(narrow(stored, item.storage_offset, item.lengths), HOLDFAST_TRY(planner.resolve_tensor(item)));
  return planner.commit_tensor(item);
}

}  // namespace example
