#include "sim/disk.h"

#include <algorithm>
#include <cstring>

#include "impl/core/check.h"
#include "impl/core/digest.h"
#include "sim/disk_nodes.h"

namespace holdfast::sim {

Bytes& Disk::File::own(std::shared_ptr<Content>& content) {
  if (!content) {
    content = std::make_shared<Content>();
  } else if (content.use_count() > 1) {
    content = std::make_shared<Content>(*content);
  }
  content->digested = false;
  return content->bytes;
}

void Disk::File::apply(Bytes& bytes, std::uint64_t offset, ByteView written) {
  if (written.empty()) return;
  if (offset > bytes.size()) bytes.resize(offset);
  const std::size_t overwritten = std::min<std::size_t>(written.size(), bytes.size() - offset);
  if (overwritten != 0) std::memcpy(bytes.data() + offset, written.data(), overwritten);
  bytes.insert(bytes.end(), written.begin() + static_cast<std::ptrdiff_t>(overwritten), written.end());
}

ByteView Disk::File::bytes_of(const FileOperation& operation) const {
  return operation.bytes ? ByteView(*operation.bytes) : view(current).subspan(operation.offset, operation.size);
}

void Disk::File::keep_pending(std::uint64_t begin, std::uint64_t end) {
  for (FileOperation& operation : pending) {
    const bool touched = operation.offset < end && begin < operation.offset + operation.size;
    if (!touched || operation.truncation || operation.bytes) continue;
    operation.bytes = std::make_shared<const Bytes>(to_bytes(bytes_of(operation)));
  }
}

void Disk::File::make_pending_durable() {
  if (!dropped) {
    durable = current;
  } else if (!pending.empty()) {
    Bytes& bytes = own(durable);
    for (const FileOperation& operation : pending) {
      if (operation.truncation) {
        bytes.resize(operation.offset);
      } else {
        apply(bytes, operation.offset, bytes_of(operation));
      }
    }
  }
  pending.clear();
}

Disk::Disk() {
  inodes_.push_back(std::make_shared<Inode>());
  inodes_[0]->is_directory = true;
}

Disk::Inode& Disk::own(std::uint32_t inode) {
  std::shared_ptr<Inode>& held = inodes_[inode];
  if (held.use_count() > 1) held = std::make_shared<Inode>(*held);
  return *held;
}

Disk::File& Disk::file(Node node) { return own(node.value).file; }
const Disk::File& Disk::file(Node node) const { return inodes_[node.value]->file; }
Disk::Directory& Disk::directory(std::uint32_t inode) { return own(inode).directory; }
const Disk::Directory& Disk::directory(std::uint32_t inode) const { return inodes_[inode]->directory; }
bool Disk::is_directory(std::uint32_t inode) const { return inodes_[inode]->is_directory; }

Result<std::uint32_t> Disk::find(std::string_view path) const {
  std::uint32_t inode = 0;
  for (std::string_view rest = path; !rest.empty();) {
    const std::size_t slash = rest.find('/');
    if (!is_directory(inode)) return fail(ErrorCode::not_found, "\"{}\": a component is no directory", path);
    const Directory::Entries& entries = directory(inode).current;
    const auto entry = entries.find(rest.substr(0, slash));
    if (entry == entries.end()) return fail(ErrorCode::not_found, "\"{}\": no such file or directory", path);
    inode = entry->second;
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  }
  return inode;
}

Result<Disk::Place> Disk::place(std::string_view path) const {
  const std::size_t slash = path.rfind('/');
  const bool at_root = slash == std::string_view::npos;
  const std::string_view name = at_root ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") return fail(ErrorCode::invalid_argument, "\"{}\" is no name for an entry", path);
  const std::uint32_t parent = TRY(find(at_root ? std::string_view() : path.substr(0, slash)));
  if (!is_directory(parent)) return fail(ErrorCode::not_found, "\"{}\": the parent is no directory", path);
  return Place{parent, name};
}

std::uint32_t Disk::add_inode(bool is_directory) {
  auto inode = std::make_shared<Inode>();
  inode->is_directory = is_directory;
  if (free_.empty()) {
    inodes_.push_back(std::move(inode));
    return static_cast<std::uint32_t>(inodes_.size() - 1);
  }
  const std::uint32_t number = free_.back();
  free_.pop_back();
  inodes_[number] = std::move(inode);
  return number;
}

void Disk::add_entry(const Place& place, std::uint32_t inode) {
  Directory& parent = directory(place.directory);
  parent.current.emplace(place.name, inode);
  parent.pending.push_back(
      {++sequence_, EntryOperation::Kind::add, place.directory, place.directory, inode, false, std::string(place.name), {}});
}

void Disk::remove_entry(const Place& place, std::uint32_t inode) {
  Directory& parent = directory(place.directory);
  parent.current.erase(parent.current.find(place.name));
  parent.pending.push_back(
      {++sequence_, EntryOperation::Kind::remove, place.directory, place.directory, inode, false, std::string(place.name), {}});
}

Status Disk::make_directory(std::string_view path) {
  const Place at = TRY(place(path));
  if (directory(at.directory).current.contains(at.name)) return fail(ErrorCode::already_exists, "\"{}\" exists", path);
  add_entry(at, add_inode(true));
  return {};
}

Result<Disk::Node> Disk::create(std::string_view path) {
  const Place at = TRY(place(path));
  if (directory(at.directory).current.contains(at.name)) return fail(ErrorCode::already_exists, "\"{}\" exists", path);
  const std::uint32_t inode = add_inode(false);
  add_entry(at, inode);
  return Node{inode};
}

Result<Disk::Node> Disk::open(std::string_view path) const {
  const std::uint32_t inode = TRY(find(path));
  if (is_directory(inode)) return fail(ErrorCode::invalid_argument, "\"{}\" is a directory", path);
  return Node{inode};
}

void Disk::write(Node node, std::uint64_t offset, ByteView bytes) {
  if (bytes.empty()) return;
  File& target = file(node);
  target.keep_pending(offset, offset + bytes.size());
  File::apply(File::own(target.current), offset, bytes);
  target.pending.push_back({++sequence_, false, offset, bytes.size(), nullptr});
}

Status Disk::read(Node node, std::uint64_t offset, ByteSpan bytes) const {
  const ByteView all = File::view(file(node).current);
  if (offset > all.size() || bytes.size() > all.size() - offset) {
    return fail(ErrorCode::corrupt, "read of {} bytes at {}: the file has {} bytes", bytes.size(), offset, all.size());
  }
  if (!bytes.empty()) std::memcpy(bytes.data(), all.data() + offset, bytes.size());
  return {};
}

std::uint64_t Disk::size(Node node) const { return File::view(file(node).current).size(); }

void Disk::truncate(Node node, std::uint64_t size) {
  File& target = file(node);
  target.keep_pending(size, UINT64_MAX);
  File::own(target.current).resize(size);
  target.pending.push_back({++sequence_, true, size, 0, nullptr});
}

void Disk::sync(Node node) {
  file(node).make_pending_durable();
  committed_ = sequence_;
}

void Disk::drop_unsynced(Node node) {
  File& target = file(node);
  target.dropped |= !target.pending.empty();
  target.pending.clear();
}

void Disk::flip_bit(Node node, std::uint64_t bit) {
  File& target = file(node);
  Bytes& bytes = File::own(target.current);
  CHECK(bit / 8 < bytes.size(), "flip bit {} of a file of {} bytes", bit, bytes.size());
  bytes[bit / 8] ^= std::byte(1u << (bit % 8));
}

Status Disk::rename(std::string_view from, std::string_view to) {
  const std::uint32_t inode = TRY(find(from));
  const Place source = TRY(place(from));
  const Place target = TRY(place(to));
  Directory::Entries& entries = directory(target.directory).current;
  const auto existing = entries.find(target.name);
  const bool replaces = existing != entries.end();
  if (replaces && (is_directory(existing->second) || is_directory(inode))) {
    return fail(ErrorCode::already_exists, "rename \"{}\" to \"{}\": the target exists, and one of them is a directory", from, to);
  }
  if (replaces && existing->second == inode) return {};  // two names of one file: POSIX leaves both
  const EntryOperation operation{++sequence_, EntryOperation::Kind::rename, source.directory,        target.directory, inode,
                                 replaces,    std::string(source.name),     std::string(target.name)};
  Directory& old_parent = directory(source.directory);
  old_parent.current.erase(operation.name);
  old_parent.pending.push_back(operation);
  Directory& new_parent = directory(target.directory);
  new_parent.current[operation.to_name] = inode;
  if (source.directory != target.directory) new_parent.pending.push_back(operation);
  return {};
}

Status Disk::link_if_absent(std::string_view from, std::string_view to) {
  const std::uint32_t inode = TRY(find(from));
  if (is_directory(inode)) return fail(ErrorCode::invalid_argument, "link \"{}\": it is a directory", from);
  const Place target = TRY(place(to));
  if (directory(target.directory).current.contains(target.name))
    return fail(ErrorCode::already_exists, "link \"{}\": \"{}\" exists", from, to);
  add_entry(target, inode);
  return {};
}

Status Disk::remove(std::string_view path) {
  const std::uint32_t inode = TRY(find(path));
  if (is_directory(inode)) return fail(ErrorCode::invalid_argument, "remove \"{}\": it is a directory", path);
  remove_entry(TRY(place(path)), inode);
  return {};
}

Status Disk::remove_directory(std::string_view path) {
  const std::uint32_t inode = TRY(find(path));
  const Place at = TRY(place(path));
  if (!is_directory(inode)) return fail(ErrorCode::invalid_argument, "remove directory \"{}\": it is a file", path);
  if (!directory(inode).current.empty()) return fail(ErrorCode::io_error, "remove directory \"{}\": it is not empty", path);
  remove_entry(at, inode);
  return {};
}

Result<std::vector<port::DirectoryEntry>> Disk::list(std::string_view path) const {
  const std::uint32_t inode = TRY(find(path));
  if (!is_directory(inode)) return fail(ErrorCode::not_found, "list \"{}\": it is a file", path);
  std::vector<port::DirectoryEntry> entries;
  for (const auto& [name, child] : directory(inode).current) entries.push_back({name, is_directory(child)});
  return entries;
}

Result<Bytes> Disk::read_file(std::string_view path) const { return to_bytes(File::view(file(TRY(open(path))).current)); }

void Disk::write_file(std::string_view path, ByteView bytes) {
  std::uint32_t parent = 0;
  for (std::string_view rest = path;;) {
    const std::size_t slash = rest.find('/');
    const std::string name(rest.substr(0, slash));
    const bool is_last = slash == std::string_view::npos;
    const auto entry = directory(parent).current.find(name);
    const bool known = entry != directory(parent).current.end();
    const std::uint32_t inode = known ? entry->second : add_inode(!is_last);
    directory(parent).current[name] = inode;
    directory(parent).durable[name] = inode;
    CHECK(is_directory(inode) != is_last, "write_file \"{}\": a directory and a file of one name", path);
    if (is_last) {
      file({inode}) = File{};
      File::own(file({inode}).current) = to_bytes(bytes);
      file({inode}).make_pending_durable();
      return;
    }
    parent = inode;
    rest = rest.substr(slash + 1);
  }
}

Status Disk::flip_bit(std::string_view path, std::uint64_t bit) {
  const Node node = TRY(open(path));
  if (bit / 8 >= size(node)) return fail(ErrorCode::invalid_argument, "flip bit {} of \"{}\": it has {} bytes", bit, path, size(node));
  flip_bit(node, bit);
  File& target = file(node);
  if (!target.pending.empty() || target.dropped) return {};  // pending writes take their bytes from `current`
  target.durable = target.current;
  return {};
}

template <typename Visit>
void Disk::visit_files(std::uint32_t inode, std::string& path, Visit&& visit) const {
  for (const auto& [name, child] : directory(inode).current) {
    const std::size_t length = path.size();
    if (length != 0) path += '/';
    path += name;
    if (is_directory(child)) {
      visit(path, nullptr);
      visit_files(child, path, visit);
    } else {
      visit(path, &inodes_[child]->file);
    }
    path.resize(length);
  }
}

std::vector<std::string> Disk::paths() const {
  std::vector<std::string> found;
  std::string path;
  visit_files(0, path, [&](const std::string& at, const File* held) {
    if (held) found.push_back(at);
  });
  std::sort(found.begin(), found.end());
  return found;
}

std::uint64_t Disk::hash() const {
  std::uint64_t hash = 0;
  std::string path;
  const auto mix = [&](std::uint64_t value) { hash = (((hash << 5) | (hash >> 59)) ^ value) * 0x9e3779b97f4a7c15u; };
  visit_files(0, path, [&](const std::string& at, const File* held) {
    mix(block_digest(as_bytes(at)).low);
    if (!held) return mix(1);
    if (!held->current || held->current->bytes.empty()) return mix(2);
    const Content& content = *held->current;
    if (!content.digested) {
      content.digest = block_digest(content.bytes).low;
      content.digested = true;
    }
    mix(content.digest);
  });
  return hash;
}

}  // namespace holdfast::sim
