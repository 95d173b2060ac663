#include "reports/text.h"

#include <numeric>

#include "reports/grouping.h"
#include "tests/reports/samples.h"

namespace holdfast::reports {
namespace {

TEST(ReportText, EscapesEveryByteSoThatXmlHoldsIt) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string out = escape_xml(std::string("a") + static_cast<char>(byte) + "b");
    for (const char c : out) EXPECT_FALSE(static_cast<unsigned char>(c) < 0x20) << byte;
    EXPECT_EQ(out.find_first_of("<>\"'"), std::string::npos) << byte;
    EXPECT_TRUE(out.find('&') == std::string::npos || byte == '&' || byte == '<' || byte == '>' || byte == '"' || byte == '\'') << byte;
  }
  EXPECT_EQ(escape_xml("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
}

TEST(ReportText, ReplacesWhatIsNoUtf8AndKeepsWhatIs) {
  EXPECT_EQ(printable("\xC3\xA9"), "\xC3\xA9");
  EXPECT_EQ(printable("\xC3"), "\xEF\xBF\xBD");
  EXPECT_EQ(printable("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD");                  // overlong
  EXPECT_EQ(printable("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // surrogate
  EXPECT_EQ(printable("\xEF\xBF\xBF").substr(0, 3), "\xEF\xBF\xBD");             // U+FFFF is no XML character
}

TEST(ReportText, ClipsToCodePointsAndKeepsBothEnds) {
  const std::string clipped = clip("\xC3\xA9" + std::string(300, 'x') + "end", 9);
  EXPECT_EQ(clipped, "\xC3\xA9xxx\xE2\x80\xA6xend");
  EXPECT_EQ(clip("short", 5), "short");
  EXPECT_EQ(clip("long", 0), "\xE2\x80\xA6");
}

TEST(ReportText, WritesNumbersForPeople) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.00 KiB");
  EXPECT_EQ(human_bytes(1024ull * 1024 * 1024 * 3 / 2), "1.50 GiB");
  EXPECT_EQ(human_bytes(~0ull), "16.0 EiB");
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(1234567), "1,234,567");
  EXPECT_EQ(counted(1, "file"), "1 file");
  EXPECT_EQ(counted(1000, "file"), "1,000 files");
  EXPECT_EQ(human_time(999), "999 ns");
  EXPECT_EQ(human_time(30'000'000'000), "30.0 s");
}

TEST(ReportText, WritesRanksAsRangesAndSaysHowManyItLeavesOut) {
  EXPECT_EQ(rank_ranges(Members{0, 1, 2, 5, 7, 8}),
            "0\xE2\x80\x93"
            "2, 5, 7\xE2\x80\x93"
            "8");
  EXPECT_EQ(rank_ranges(Members{0, 2, 4}, 2), "0, 2 \xE2\x80\xA6 (+1 ranges)");
  EXPECT_EQ(rank_title(Members{3}), "rank 3");
}

TEST(ReportText, PutsNumberedNamesIntoOneFamily) {
  EXPECT_EQ(family("layers.17.mlp.0.weight"), "layers.*.mlp.*.weight");
  EXPECT_EQ(family("h1.weight"), "h1.weight");
  EXPECT_EQ(family(""), "");
}

/// All globs and texts over a small alphabet against the definition.
bool defined_match(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == '*') return defined_match(pattern.substr(1), text) || (!text.empty() && defined_match(pattern, text.substr(1)));
  return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) && defined_match(pattern.substr(1), text.substr(1));
}

std::vector<std::string> all_words(std::string_view alphabet, std::size_t length_max) {
  std::vector<std::string> words{""};
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].size() == length_max) continue;
    for (const char c : alphabet) words.push_back(words[i] + c);
  }
  return words;
}

TEST(ReportText, MatchesGlobsAsDefinedForAllSmallWords) {
  for (const std::string& pattern : all_words("a*?", 5)) {
    for (const std::string& text : all_words("ab", 5))
      EXPECT_EQ(matches_glob(pattern, text), defined_match(pattern, text)) << pattern << " " << text;
  }
}

TEST(ReportGrouping, BlocksHoldEachMemberOnceInAtMostAsManyBlocks) {
  for (std::size_t count = 0; count <= 40; ++count) {
    for (std::size_t most = 1; most <= 20; ++most) {
      const auto groups = blocks(count, most);
      EXPECT_LE(groups.size(), most);
      Members all;
      for (const Members& group : groups) all.insert(all.end(), group.begin(), group.end());
      Members expected(count);
      std::iota(expected.begin(), expected.end(), 0);
      EXPECT_EQ(all, expected);
    }
  }
}

TEST(ReportGrouping, PutsEqualKeysTogetherByTheirLowestMember) {
  EXPECT_EQ(equal_groups({7, 5, 7, 5, 9}), (std::vector<Members>{{0, 2}, {1, 3}, {4}}));
  EXPECT_EQ(one_and_others(3, 1), (std::vector<Members>{{1}, {0, 2}}));
  EXPECT_EQ(one_and_others(2, 9), (std::vector<Members>{{0, 1}}));
}

}  // namespace
}  // namespace holdfast::reports
