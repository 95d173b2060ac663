#include "impl/plan/rule_tables.h"

#include <algorithm>
#include <utility>

#include "impl/core/digest.h"
#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/plan/layout_table.h"

namespace holdfast::plan {
namespace {

struct Listing {
  std::int32_t from = 0;  ///< class
  const LayoutItem* item = nullptr;
};
using Listings = boost::container::small_vector<Listing, 2>;

using DigestKey = std::pair<std::uint64_t, std::uint64_t>;

DigestKey key_of(const std::vector<LayoutItem>& table) {
  const BlockDigest digest = block_digest(encode_table(table));
  return {digest.low, digest.high};
}

std::string ranks_text(const std::vector<Rank>& ranks) {
  std::vector<std::string> ranges;
  for (std::size_t begin = 0; begin < ranks.size();) {
    std::size_t end = begin + 1;
    while (end < ranks.size() && ranks[end].value == ranks[end - 1].value + 1) ++end;
    ranges.push_back(end - begin == 1 ? fmt::format("{}", ranks[begin]) : fmt::format("{}-{}", ranks[begin], ranks[end - 1]));
    begin = end;
  }
  constexpr std::size_t listed_max = 8;
  const std::string rest = ranges.size() > listed_max ? fmt::format(" and {} more ranges", ranges.size() - listed_max) : "";
  ranges.resize(std::min(ranges.size(), listed_max));
  return fmt::format("{} {}{}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranges, ","), rest);
}

/// Which ranks of a mesh are missing among those of some classes. Many tensors ask the same.
class Attendance {
 public:
  explicit Attendance(const RuleTables& tables) : tables_(tables) {}

  const std::vector<Rank>& missing(const Mesh& mesh, std::span<const std::int32_t> classes) {
    const auto same = [&](const Known& known) { return std::ranges::equal(known.classes, classes) && known.mesh == mesh; };
    const auto known = std::ranges::find_if(known_, same);
    if (known != known_.end()) return known->missing;
    Known& now = known_.emplace_back(Known{mesh, {classes.begin(), classes.end()}, {}});
    const std::int64_t size = mesh.size();
    for (std::int64_t position = 0; position < size; ++position) {
      const Rank rank = mesh.rank(position);
      if (!std::ranges::binary_search(classes, tables_.class_of(rank))) now.missing.push_back(rank);
    }
    std::ranges::sort(now.missing);
    return now.missing;
  }

 private:
  struct Known {
    Mesh mesh;
    std::vector<std::int32_t> classes;
    std::vector<Rank> missing;
  };
  const RuleTables& tables_;
  std::vector<Known> known_;
};

/// What is agreed upon of one tensor.
class Agreeing {
 public:
  Agreeing(const RuleTables& tables, Problems& problems) : tables_(tables), problems_(problems), attendance_(tables) {}

  enum class Verdict { wrong, ruled, listed };
  Verdict look_at(std::string_view key, const Listings& listings, std::span<const Holding> items) {
    if (!fits(key, listings) || !only_tensors(key, listings, items)) return Verdict::wrong;
    bool good = equal(key, "the dtype", listings, items, [](const auto& item) { return to_string(item.dtype); });
    good &= equal(key, "the shape", listings, items, [](const auto& item) { return text(item.shape); });
    if (!good) return Verdict::wrong;
    const auto other_rule = [&](const Listing& listing) { return listing.item->layout != listings.front().item->layout; };
    const Mesh& mesh = listings.front().item->layout.mesh;
    const auto held = [&](const Holding& holding) { return !is_announcement(*holding.item) || mesh.position(holding.rank); };
    if (std::ranges::any_of(listings, other_rule) || std::ranges::any_of(items, held)) return Verdict::listed;
    return all_there(key, listings) ? Verdict::ruled : Verdict::wrong;
  }

 private:
  bool fits(std::string_view key, const Listings& listings) {
    const LayoutItem* seen = nullptr;
    for (const Listing& listing : listings) {
      if (seen && seen->shape == listing.item->shape && seen->layout == listing.item->layout) continue;
      seen = listing.item;
      const Status status = check(seen->layout, seen->shape, static_cast<std::int64_t>(tables_.ranks()));
      if (status) continue;
      problems_.add("\"{}\" on rank {}: {}", key, tables_.classes()[static_cast<std::size_t>(listing.from)].first, status.error().message);
      return false;
    }
    return true;
  }

  Rank first_rank(const Listings& listings) const { return tables_.classes()[static_cast<std::size_t>(listings.front().from)].first; }

  bool only_tensors(std::string_view key, const Listings& listings, std::span<const Holding> items) {
    const auto other = std::ranges::find_if(items, [](const Holding& holding) { return holding.item->type == WriteItemType::bytes; });
    if (other == items.end()) return true;
    problems_.add("\"{}\": the kind differs between ranks: a tensor on rank {}, a byte value on rank {}", key, first_rank(listings),
                  other->rank);
    return false;
  }

  template <typename Property>
  bool equal(std::string_view key, std::string_view what, const Listings& listings, std::span<const Holding> items, Property&& property) {
    const auto first = property(*listings.front().item);
    std::optional<std::pair<Rank, std::string>> other;
    std::int64_t differing = 0;
    const auto compare = [&](Rank rank, std::int64_t ranks, const auto& item) {
      if (property(item) == first) return;
      if (!other || rank < other->first) other.emplace(rank, property(item));
      differing += ranks;
    };
    for (const Listing& listing : listings) {
      const RuleTables::Class& from = tables_.classes()[static_cast<std::size_t>(listing.from)];
      if (listing.item != listings.front().item) compare(from.first, from.ranks, *listing.item);
    }
    for (const Holding& holding : items) compare(holding.rank, 1, *holding.item);
    if (!other) return true;
    const Rank rank = first_rank(listings);
    const std::string more = differing > 1 ? fmt::format(" ({} ranks differ from rank {})", differing, rank) : "";
    problems_.add("\"{}\": {} differs between ranks: {} on rank {}, {} on rank {}{}", key, what, first, rank, other->second, other->first,
                  more);
    return false;
  }

  bool all_there(std::string_view key, const Listings& listings) {
    boost::container::small_vector<std::int32_t, 2> classes;
    for (const Listing& listing : listings) classes.push_back(listing.from);
    const MeshLayout& layout = listings.front().item->layout;
    const std::vector<Rank>& missing = attendance_.missing(layout.mesh, {classes.data(), classes.size()});
    if (MUTATE("plan.rule_attendance_ignored", missing.empty(), true)) return true;
    problems_.add("\"{}\": laid out over {}, but {} not list it", key, to_string(layout.mesh),
                  ranks_text(missing) + (missing.size() == 1 ? " does" : " do"));
    return false;
  }

  const RuleTables& tables_;
  Problems& problems_;
  Attendance attendance_;
};

std::map<std::string_view, Listings> by_name(const RuleTables& tables, Problems& problems) {
  std::map<std::string_view, Listings> listings;
  for (std::size_t c = 0; c < tables.classes().size(); ++c) {
    const RuleTables::Class& from = tables.classes()[c];
    auto at = listings.begin();
    std::string_view previous;
    for (const LayoutItem& item : *from.table) {
      if (&item != from.table->data() && item.fqn <= previous) {
        problems.add("\"{}\" on rank {}: listed after \"{}\", not in name order", item.fqn, from.first, previous);
      }
      previous = item.fqn;
      at = listings.try_emplace(at, item.fqn);
      at->second.push_back({static_cast<std::int32_t>(c), &item});
    }
  }
  return listings;
}

}  // namespace

RuleTables::RuleTables(std::span<const SavePlan> plans) {
  std::map<const void*, std::int32_t> by_address;  // to look up only: nothing follows the order of addresses
  std::map<DigestKey, std::int32_t> by_value;
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    const LayoutTable& table = plans[rank].layouts;
    if (!table || table->empty()) {
      class_of_.push_back(none);
      continue;
    }
    auto known = by_address.find(table.get());
    if (known == by_address.end()) {
      const auto fresh = static_cast<std::int32_t>(classes_.size());
      const std::int32_t number = by_value.try_emplace(key_of(*table), fresh).first->second;
      if (number == fresh) classes_.push_back({table, Rank{static_cast<std::int32_t>(rank)}, 0});
      known = by_address.emplace(table.get(), number).first;
    }
    class_of_.push_back(known->second);
    ++classes_[static_cast<std::size_t>(known->second)].ranks;
  }
}

Agreement agree(const RuleTables& tables, const std::map<std::string_view, std::vector<Holding>>& items, Problems& problems) {
  Agreement agreement;
  const std::map<std::string_view, Listings> listings = by_name(tables, problems);
  if (problems.count() > 0) return agreement;
  Agreeing agreeing(tables, problems);
  for (const auto& [key, listed] : listings) {
    const auto held = items.find(key);
    const std::span<const Holding> holdings = held == items.end() ? std::span<const Holding>() : held->second;
    const auto verdict = agreeing.look_at(key, listed, holdings);
    if (verdict == Agreeing::Verdict::listed) agreement.listed.push_back(key);
    if (verdict != Agreeing::Verdict::ruled) continue;
    RuledTensor& tensor = agreement.ruled.emplace_back();
    tensor.item = listed.front().item;
    for (const Listing& listing : listed) tensor.classes.push_back(listing.from);
  }
  return agreement;
}

void list_boxes(std::vector<SavePlan>& plans, const RuleTables& tables, std::span<const std::string_view> names) {
  MARK("plan.rule_listed");
  std::vector<LayoutTable> to_list, to_keep;
  for (const RuleTables::Class& from : tables.classes()) {
    std::vector<LayoutItem> listed, kept;
    for (const LayoutItem& item : *from.table) {
      (std::ranges::binary_search(names, std::string_view(item.fqn)) ? listed : kept).push_back(item);
    }
    to_list.push_back(std::make_shared<const std::vector<LayoutItem>>(std::move(listed)));
    to_keep.push_back(std::make_shared<const std::vector<LayoutItem>>(std::move(kept)));
  }
  for (std::size_t r = 0; r < plans.size(); ++r) {
    const Rank rank{static_cast<std::int32_t>(r)};
    const std::int32_t from = tables.class_of(rank);
    if (from == RuleTables::none) continue;
    plans[r].layouts = to_list[static_cast<std::size_t>(from)];
    plans[r] = expand(std::move(plans[r]), rank);
    plans[r].layouts = to_keep[static_cast<std::size_t>(from)];
  }
}

std::vector<std::uint64_t> even_shares(const RuleTables& tables, std::span<const RuledTensor> ruled) {
  struct OnMesh {
    const Mesh* mesh;
    std::uint64_t bytes;
  };
  std::vector<std::vector<OnMesh>> by_class(tables.classes().size());
  for (const RuledTensor& tensor : ruled) {
    const Mesh& mesh = tensor.item->layout.mesh;
    const std::uint64_t bytes = static_cast<std::uint64_t>(whole(tensor.item->shape).volume()) * size_bytes(tensor.item->dtype);
    for (const std::int32_t from : tensor.classes) {
      auto& meshes = by_class[static_cast<std::size_t>(from)];
      auto on = std::ranges::find_if(meshes, [&](const OnMesh& other) { return *other.mesh == mesh; });
      if (on == meshes.end()) on = meshes.insert(meshes.end(), OnMesh{&mesh, 0});
      on->bytes += bytes / static_cast<std::uint64_t>(mesh.size());
    }
  }
  std::vector<std::uint64_t> shares(tables.ranks(), 0);
  for (std::size_t r = 0; r < shares.size(); ++r) {
    const Rank rank{static_cast<std::int32_t>(r)};
    const std::int32_t from = tables.class_of(rank);
    if (from == RuleTables::none) continue;
    for (const OnMesh& on : by_class[static_cast<std::size_t>(from)]) {
      if (on.mesh->position(rank)) shares[r] += on.bytes;
    }
  }
  return shares;
}

}  // namespace holdfast::plan
