#include "properties/gen/layout_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>

#include "impl/core/bytes.h"

namespace holdfast::properties::gen {
namespace {

const std::string llama = HOLDFAST_SPECS "/llama-3.1-8b.json";

struct TemporaryFile {
  std::string path = ::testing::TempDir() + fmt::format("layout_file_{}", ::getpid());
  explicit TemporaryFile(std::string_view text, std::string_view suffix = ".json") {
    path += suffix;
    std::FILE* file = std::fopen(path.c_str(), "wb");
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
  }
  ~TemporaryFile() { std::filesystem::remove(path); }
};

std::string safetensors(std::string header, std::string_view data) {
  std::string text(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) text[i] = static_cast<char>(header.size() >> (8 * i));
  return text + header + std::string(data);
}

TEST(LayoutFile, KeepsEveryTensorOfLlamaAndAMebibyte) {
  const auto spec = read_layout_file(llama, 4);
  ASSERT_TRUE(spec.has_value()) << spec.error().message;
  EXPECT_EQ(spec->tensors.size(), 291u);
  EXPECT_GE(logical_bytes(*spec), 1u << 20);
  EXPECT_LT(logical_bytes(*spec), 4u << 20);
  std::set<std::string> names;
  for (const TensorSpec& tensor : spec->tensors) {
    names.insert(tensor.name);
    EXPECT_TRUE(std::ranges::all_of(tensor.shape, [](std::int64_t extent) { return extent >= 1; })) << tensor.name;
    EXPECT_EQ(std::holds_alternative<ReplicatedLayout>(tensor.layout), tensor.shape.size() == 1) << tensor.name;
  }
  EXPECT_EQ(names.size(), 291u);
  ASSERT_EQ(spec->values.size(), 1u);
  EXPECT_EQ(spec->values[0].name, "trainer");
}

TEST(LayoutFile, ScalesByPowersOfTwoOnly) {
  const auto small = read_layout_file(llama, 1), whole = read_layout_file(llama, 1, 16'060'522'496);
  ASSERT_TRUE(small && whole);
  for (std::size_t i = 0; i < small->tensors.size(); ++i) {
    for (std::size_t d = 0; d < small->tensors[i].shape.size(); ++d) {
      EXPECT_EQ(small->tensors[i].shape[d], whole->tensors[i].shape[d] >> (d == 0 ? 7 : 6)) << small->tensors[i].name;
    }
  }
  EXPECT_EQ(logical_bytes(*whole) - whole->values[0].bytes, 16'060'522'496u);
}

TEST(LayoutFile, EveryRankHoldsAPartOfEveryTensor) {
  const auto spec = read_layout_file(llama, 4);
  ASSERT_TRUE(spec.has_value());
  for (int r = 0; r < 4; ++r) {
    const RankState state = make_destination(*spec, Rank{r});
    EXPECT_EQ(state.memory.size(), 291u);
  }
}

TEST(LayoutFile, SaysWhatIsWrongWithABadOne) {
  EXPECT_EQ(read_layout_file("/nowhere/x.json", 1).error().code, ErrorCode::not_found);
  EXPECT_EQ(read_layout_file(llama, 0).error().code, ErrorCode::invalid_argument);
  const std::pair<std::string_view, std::string_view> bad[] = {
      {"{", "no JSON"},
      {"[]", "other JSON"},
      {R"({"tensors":[]})", "a list \"tensors\""},
      {R"({"tensors":[{"name":"w","dtype":"F99","shape":[2]}]})", "F99"},
      {R"({"tensors":[{"name":"w","dtype":"F32","shape":[-2]}]})", "the dimension -2"},
      {R"({"tensors":[{"name":"w","dtype":"F32"}]})", "a shape"},
      {R"({"tensors":[7]})", "expected an object"}};
  for (const auto& [text, found] : bad) {
    const TemporaryFile file(text);
    const auto spec = read_layout_file(file.path, 2);
    ASSERT_FALSE(spec.has_value()) << text;
    EXPECT_EQ(spec.error().code, ErrorCode::corrupt);
    EXPECT_NE(spec.error().message.find(found), std::string::npos) << spec.error().message;
  }
}

TEST(SafetensorsState, HoldsTheRealBytes) {
  const TemporaryFile file(
      safetensors(R"({"w":{"dtype":"U8","shape":[2,3],"data_offsets":[0,6]},"b":{"dtype":"U8","shape":[2],"data_offsets":[6,8]}})",
                  "abcdefgh"),
      ".safetensors");
  const auto state = read_safetensors_state(file.path, 2);
  ASSERT_TRUE(state.has_value()) << state.error().message;
  EXPECT_EQ(as_text(state->values.tensors.at("w")), "abcdef");
  EXPECT_EQ(as_text(state->values.tensors.at("b")), "gh");
  const RankState second = make_state(state->spec, Rank{1}, state->values);
  EXPECT_EQ(as_text(second.memory[0]), "def");
  EXPECT_EQ(difference(second, state->spec, Rank{1}, state->values), std::nullopt);
}

TEST(SafetensorsState, ChangesEveryByteInEveryOtherVersion) {
  WholeValues values;
  values.tensors["w"] = to_bytes(as_bytes("abc"));
  EXPECT_EQ(changed(values, 1).tensors["w"], values.tensors["w"]);
  const Bytes second = changed(values, 2).tensors["w"], third = changed(values, 3).tensors["w"];
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NE(second[i], values.tensors["w"][i]);
    EXPECT_NE(third[i], values.tensors["w"][i]);
    EXPECT_NE(second[i], third[i]);
  }
}

TEST(SafetensorsState, RefusesADamagedFile) {
  const TemporaryFile file(safetensors(R"({"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", "abc"), ".safetensors");
  const auto state = read_safetensors_state(file.path, 2);
  ASSERT_FALSE(state.has_value());
  EXPECT_EQ(state.error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace holdfast::properties::gen
