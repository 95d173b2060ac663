// What becomes durable, and what a crash leaves. FAULTS.md states the rules that make_legal enforces.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "impl/core/check.h"
#include "sim/disk_nodes.h"

namespace holdfast::sim {
namespace {

enum class CrashMode : std::uint32_t { all, none, each_by_chance, all_but_one, prefix, entries_without_data, data_without_entries };
constexpr std::uint32_t crash_modes = 7;

template <typename Entries, typename Operation>
void apply(Entries& source, Entries& target, const Operation& operation) {
  const auto erase = [&](Entries& entries) {
    const auto entry = entries.find(operation.name);
    if (entry != entries.end() && entry->second == operation.inode) entries.erase(entry);
  };
  switch (operation.kind) {
    case Operation::Kind::add: target[operation.name] = operation.inode; return;
    case Operation::Kind::remove: return erase(target);
    case Operation::Kind::rename:
      erase(source);
      target[operation.to_name] = operation.inode;
      return;
  }
}

}  // namespace

const char* to_string(PersistenceModel model) {
  constexpr std::array<const char*, persistence_models> names = {"strict", "ext4-ordered", "weak", "nfs", "object"};
  return names[static_cast<std::size_t>(model)];
}

Status Disk::sync_directory(std::string_view path) {
  const std::uint32_t inode = TRY(find(path));
  if (!is_directory(inode)) return fail(ErrorCode::not_found, "sync directory \"{}\": it is a file", path);
  std::vector<EntryOperation> operations = std::move(directory(inode).pending);
  directory(inode).pending.clear();
  for (const EntryOperation& operation : operations) {
    const std::uint32_t other = operation.directory == inode ? operation.to_directory : operation.directory;
    if (other != inode && inodes_[other]) {
      const auto& waiting = directory(other).pending;  // a rename across directories is durable once both are synced
      if (std::any_of(waiting.begin(), waiting.end(), [&](const EntryOperation& o) { return o.sequence == operation.sequence; })) continue;
    }
    apply(directory(operation.directory).durable, directory(operation.to_directory).durable, operation);
  }
  committed_ = sequence_;
  return {};
}

std::vector<Disk::Unit> Disk::units() const {
  std::vector<Unit> found;
  for (std::uint32_t i = 0; i < inodes_.size(); ++i) {
    if (!inodes_[i]) continue;
    for (const EntryOperation& operation : inodes_[i]->directory.pending) {
      found.push_back(
          {operation.sequence, operation.inode, true, false, operation.sequence <= committed_, &operation, nullptr, 0, 0, false});
    }
    const File& held = inodes_[i]->file;
    std::uint64_t size = File::view(held.durable).size();
    for (const FileOperation& operation : held.pending) {
      Unit unit{operation.sequence, i, false, true, operation.sequence <= committed_, nullptr, &operation, 0, 0, !held.durable};
      if (operation.truncation) {
        size = operation.offset;
        found.push_back(unit);
        continue;
      }
      const std::uint64_t end = operation.offset + operation.size;
      for (unit.begin = operation.offset; unit.begin < end; unit.begin = unit.end) {
        unit.end = std::min(end, (unit.begin / block_bytes + 1) * block_bytes);
        unit.in_order = unit.end > size;
        size = std::max(size, unit.end);
        found.push_back(unit);
      }
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const Unit& a, const Unit& b) { return a.sequence < b.sequence; });
  // A rename across directories stands in both lists, and is one operation.
  const auto same = [](const Unit& a, const Unit& b) { return a.entry && b.entry && a.sequence == b.sequence; };
  found.erase(std::unique(found.begin(), found.end(), same), found.end());
  return found;
}

std::size_t Disk::pending_operations() const { return units().size(); }

void Disk::make_legal(PersistenceModel model, const std::vector<Unit>& units, std::vector<bool>& survives) {
  switch (model) {
    case PersistenceModel::strict: return make_strict(units, survives);
    case PersistenceModel::ext4_ordered: return make_ext4_ordered(units, survives);
    case PersistenceModel::weak: return;
    case PersistenceModel::nfs:
      for (std::size_t i = 0; i < units.size(); ++i) survives[i] = survives[i] || units[i].entry;
      return;
    case PersistenceModel::object: return make_object(units, survives);
  }
}

void Disk::make_strict(const std::vector<Unit>& units, std::vector<bool>& survives) {
  bool alive = true;
  for (std::size_t i = 0; i < units.size(); ++i) {
    alive = units[i].committed || (alive && survives[i]);
    survives[i] = alive;
  }
}

void Disk::make_object(const std::vector<Unit>& units, std::vector<bool>& survives) {
  std::map<std::uint32_t, bool> uploaded;  // by file: as its first un-synced operation was chosen
  std::set<std::uint32_t> never;           // files of which nothing was ever uploaded
  for (std::size_t i = 0; i < units.size(); ++i) {
    if (units[i].entry) continue;
    const bool whole = uploaded.try_emplace(units[i].inode, survives[i]).first->second;
    survives[i] = whole;
    if (!whole && units[i].never_synced) never.insert(units[i].inode);
  }
  for (std::size_t i = 0; i < units.size(); ++i) {
    if (!units[i].entry) continue;
    const bool removes = units[i].entry_operation->kind == EntryOperation::Kind::remove;
    survives[i] = removes || !never.contains(units[i].inode);
  }
}

void Disk::make_ext4_ordered(const std::vector<Unit>& units, std::vector<bool>& survives) {
  bool entries_alive = true;
  std::set<std::uint32_t> cut;  // files whose growth has stopped
  for (std::size_t i = 0; i < units.size(); ++i) {
    const Unit& unit = units[i];
    if (unit.entry) {
      entries_alive = unit.committed || (entries_alive && survives[i]);
      survives[i] = entries_alive;
    } else if (unit.in_order) {
      if (!survives[i]) cut.insert(unit.inode);
      survives[i] = !cut.contains(unit.inode);
    }
  }
  for (std::size_t i = 0; i < units.size(); ++i) {
    if (!survives[i] || !units[i].entry || !units[i].entry_operation->replaced) continue;
    for (std::size_t before = 0; before < i; ++before) {
      if (!units[before].entry && units[before].inode == units[i].inode) survives[before] = true;
    }
  }
}

Disk Disk::after_crash(const std::vector<Unit>& units, const std::vector<bool>& survives) const {
  Disk disk = *this;
  std::set<std::uint32_t> changed;
  for (std::uint32_t i = 0; i < inodes_.size(); ++i) {
    if (!inodes_[i]) continue;
    const Inode& held = *inodes_[i];
    if (!held.file.pending.empty() || held.file.dropped || !held.directory.pending.empty()) changed.insert(i);
    // A directory may be synced but for a rename that waits for the other one.
    for (const EntryOperation& operation : held.directory.pending) changed.insert({operation.directory, operation.to_directory});
  }
  for (const std::uint32_t i : changed) {
    Inode& inode = disk.own(i);
    inode.file.pending.clear();
    inode.file.dropped = false;
    inode.file.current = inode.file.durable;
    inode.directory.pending.clear();
    inode.directory.current = inode.directory.durable;
  }
  for (std::size_t i = 0; i < units.size(); ++i) {
    if (!survives[i]) continue;
    const Unit& unit = units[i];
    if (unit.entry) {
      const EntryOperation& operation = *unit.entry_operation;
      apply(disk.directory(operation.directory).current, disk.directory(operation.to_directory).current, operation);
      continue;
    }
    Bytes& bytes = File::own(disk.file({unit.inode}).current);
    if (unit.file_operation->truncation) {
      bytes.resize(unit.file_operation->offset);
    } else {
      const ByteView written = file({unit.inode}).bytes_of(*unit.file_operation);
      File::apply(bytes, unit.begin, written.subspan(unit.begin - unit.file_operation->offset, unit.end - unit.begin));
    }
  }
  disk.settle();
  return disk;
}

void Disk::crash(PersistenceModel model, Decisions& decisions) {
  const std::vector<Unit> found = units();
  const auto count = static_cast<std::uint32_t>(found.size());
  std::vector<bool> survives(count, true);
  const auto mode = static_cast<CrashMode>(count == 0 ? 0 : decisions.pick(DecisionKind::crash_mode, crash_modes));
  switch (mode) {
    case CrashMode::all: break;
    case CrashMode::none: survives.assign(count, false); break;
    case CrashMode::each_by_chance:
      for (std::uint32_t i = 0; i < count; ++i) survives[i] = decisions.pick(DecisionKind::crash_subset, 2) == 0;
      break;
    case CrashMode::all_but_one: survives[decisions.pick(DecisionKind::crash_subset, count)] = false; break;
    case CrashMode::prefix: std::fill(survives.end() - decisions.pick(DecisionKind::crash_subset, count + 1), survives.end(), false); break;
    case CrashMode::entries_without_data:
    case CrashMode::data_without_entries:
      for (std::uint32_t i = 0; i < count; ++i) survives[i] = found[i].entry == (mode == CrashMode::entries_without_data);
      break;
  }
  make_legal(model, found, survives);
  *this = after_crash(found, survives);
}

void Disk::settle() {
  for (std::uint32_t i = 0; i < inodes_.size(); ++i) {
    if (!inodes_[i]) continue;
    const Inode& held = *inodes_[i];
    const bool file_settled = held.file.pending.empty() && !held.file.dropped && held.file.durable == held.file.current;
    if (file_settled && held.directory.pending.empty() && held.directory.durable == held.directory.current) continue;
    Inode& inode = own(i);
    inode.file.make_pending_durable();
    inode.file.current = inode.file.durable;
    inode.file.dropped = false;
    inode.directory.pending.clear();
    inode.directory.durable = inode.directory.current;
  }
  committed_ = sequence_;
  drop_unreachable();
}

void Disk::drop_unreachable() {
  std::vector<bool> reached(inodes_.size(), false);
  std::vector<std::uint32_t> next = {0};
  reached[0] = true;
  while (!next.empty()) {
    const std::uint32_t inode = next.back();
    next.pop_back();
    for (const auto& [name, child] : inodes_[inode]->directory.current) {
      if (!reached[child] && is_directory(child)) next.push_back(child);
      reached[child] = true;
    }
  }
  for (std::uint32_t i = 0; i < inodes_.size(); ++i) {
    if (reached[i] || !inodes_[i]) continue;
    inodes_[i].reset();
    free_.push_back(i);
  }
}

std::vector<Disk> Disk::crash_states(PersistenceModel model, std::size_t max) const {
  CHECK(max <= 20, "crash_states: 2^{} states are too many", max);
  const std::vector<Unit> found = units();
  const std::size_t count = found.size();
  std::set<std::vector<bool>> tried;
  std::set<std::uint64_t> seen;
  std::vector<Disk> states;
  const auto consider = [&](std::vector<bool> survives) {
    make_legal(model, found, survives);
    if (!tried.insert(survives).second) return;
    Disk state = after_crash(found, survives);
    if (seen.insert(state.hash()).second) states.push_back(std::move(state));
  };
  if (count <= max) {
    for (std::uint64_t mask = 0; mask < (std::uint64_t{1} << count); ++mask) {
      std::vector<bool> survives(count);
      for (std::size_t i = 0; i < count; ++i) survives[i] = (mask >> i) & 1;
      consider(std::move(survives));
    }
    return states;
  }
  for (std::size_t i = 0; i <= count; ++i) {
    std::vector<bool> prefix(count, false);
    std::fill_n(prefix.begin(), i, true);
    consider(std::move(prefix));
    std::vector<bool> one_lost(count, true);
    if (i < count) one_lost[i] = false;
    consider(std::move(one_lost));
  }
  for (const bool entries : {true, false}) {
    std::vector<bool> survives(count);
    for (std::size_t i = 0; i < count; ++i) survives[i] = found[i].entry == entries;
    consider(std::move(survives));
  }
  return states;
}

}  // namespace holdfast::sim
