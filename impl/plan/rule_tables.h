// Tensors that ranks list by rule: who lists which, do they agree, is every rank of the mesh there.
#pragma once

#include <boost/container/small_vector.hpp>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "impl/core/plan_values.h"
#include "impl/plan/problems.h"
#include "impl/plan/validate.h"

namespace holdfast::plan {

/// The tables of all ranks, equal ones taken together: a *class* of ranks.
class RuleTables {
 public:
  struct Class {
    LayoutTable table;
    Rank first;  ///< the lowest rank with this table
    std::int64_t ranks = 0;
  };
  /// Plan i is rank i's. Tables that are shared are compared by address first.
  explicit RuleTables(std::span<const SavePlan> plans);

  static constexpr std::int32_t none = -1;
  const std::vector<Class>& classes() const { return classes_; }
  std::size_t ranks() const { return class_of_.size(); }
  std::int32_t class_of(Rank rank) const { return class_of_[static_cast<std::size_t>(rank.value)]; }

 private:
  std::vector<Class> classes_;
  std::vector<std::int32_t> class_of_;
};

/// A tensor that is planned by rule, and the classes that list it, ascending.
struct RuledTensor {
  const LayoutItem* item = nullptr;
  boost::container::small_vector<std::int32_t, 2> classes;
};

struct Agreement {
  std::vector<RuledTensor> ruled;        ///< in name order; points into the tables
  std::vector<std::string_view> listed;  ///< ascending: agreed upon, but to be planned box by box, since ranks list it in different ways
};

/// Every problem is named: key, ranks, values. Checked of each tensor: a layout that fits shape and job, the same dtype and shape on all ranks, one
/// rule, all ranks of its mesh. Two rules, or a rule on some ranks and boxes on others, are no problem: such a tensor is `listed`. A rank outside the
/// mesh may announce (validate.h) that it holds nothing. `items`: what the same plans list box by box.
Agreement agree(const RuleTables& tables, const std::map<std::string_view, std::vector<Holding>>& items, Problems& problems);

/// Moves the tensors `names` (ascending) from the rules of each plan to its items, box by box. Plan i is rank i's.
void list_boxes(std::vector<SavePlan>& plans, const RuleTables& tables, std::span<const std::string_view> names);

/// Bytes of the ruled tensors that each rank has, each tensor counted once and as if it were spread evenly over its mesh, rounded down.
std::vector<std::uint64_t> even_shares(const RuleTables& tables, std::span<const RuledTensor> ruled);

}  // namespace holdfast::plan
