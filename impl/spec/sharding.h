// sharding.json: where the parts of a tensor lie, as rules on its name. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "impl/spec/model.h"

namespace holdfast::spec {

/// What a rule says of one dim of the mesh; the words are those of the file.
struct Place {
  enum class Kind : std::uint8_t { shard, strided_shard, segments, layer, first, last, expert, flat };
  std::string dim;  ///< of the mesh
  Kind kind = Kind::shard;
  int tensor_dim = 0;  ///< of shard, strided_shard and segments
  std::string within;  ///< of strided_shard: the dim of the mesh that cut before
};

struct Rule {
  std::string match;   ///< ECMAScript, of the whole name
  std::regex pattern;  ///< compiled
  bool buffers_only = false;
  std::optional<std::size_t> dims_only;  ///< tensors of so many dimensions only
  std::vector<Place> places;
  std::vector<std::int64_t> segments;
  std::int64_t unit = 1;               ///< shard boundaries fall on multiples of it: a head's width
  std::optional<std::int64_t> pad_to;  ///< the cut dimension is padded to a multiple of this times the size of the mesh dim that cuts it

  const Place* place(Place::Kind kind) const;
};

struct RuleSet {
  std::string name;
  std::vector<std::string> mesh;         ///< dims that dense tensors know
  std::vector<std::string> expert_mesh;  ///< dims that experts know; none: as `mesh`
  std::vector<Rule> rules;
  std::string
      flat_optimizer;  ///< the dim (or flattened dims) along which the optimizer's state is cut flat; empty: it lies as its parameter
};

struct Sharding {
  std::map<std::string, RuleSet> rule_sets;
  std::map<std::string, std::vector<std::string>> models;  ///< the rule sets that a model is trained with
};

/// Errors: invalid_argument, naming rule set, rule and member.
Result<Sharding> parse_sharding(std::string_view json, const std::string& path);

/// Errors: not_found, with the names there are.
Result<const RuleSet*> find_rules(const Sharding& sharding, const std::string& name);

/// The first rule that holds for a tensor, and the numbers that its pattern captured.
struct Matched {
  const Rule* rule = nullptr;
  std::vector<std::int64_t> captured;
};
/// Errors: invalid_argument when there is none.
Result<Matched> match(const RuleSet& rules, const ModelTensor& tensor);

}  // namespace holdfast::spec
