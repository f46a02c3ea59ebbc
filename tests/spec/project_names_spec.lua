-- Derived names, URLs, people and operating systems (config.md 1.4, 1.6, 1.7, 1.9).
local names = require "app.project.names"
local os_table = require "app.project.os"
local people = require "app.project.people"
local url = require "app.project.url"

describe("derived names", function()
  for _, case in ipairs {
    { "display_name", "my-cool image_x2b", "My Cool Image_X2B" },
    { "display_name", "it's", "It'S" },
    { "display_name", "r-session", "R Session" },
    { "display_name", "ALL-CAPS 4you", "All Caps 4You" },
    { "display_name", "", "" },
    { "subpath", "a B", "a-b" },
    { "subpath", "A/B c+1.2", "a/b-c+1.2" },
    { "extension", "Std Foo!", "stdfoo" },
    { "extension", "Ubuntu 22.04", "ubuntu2204" },
    { "extension", "a_b-C", "a_b-c" },
    { "extension", "é!", "" },
    { "tag_display_name", "Std Foo!", "std-foo-" },
    { "tag_display_name", "Ubuntu 22.04", "ubuntu-22.04" },
    { "tag_display_name", "é", "-" },
    { "display_name", "étage-ß ÜBER", "Étage Ss Über" },
    { "subpath", "Café B", "café-b" },
    { "lower", "ÄÖ-Ü", "äö-ü" },
    { "tidy", "./a//b/.", "a/b" },
    { "tidy", ".", "." },
    { "tidy", "a/../b", "a/../b" },
    { "snake", "displayName", "display_name" },
    { "snake", "artifactDownloadURL", "artifact_download_url" },
    { "snake", "os", "os" },
  } do
    it(("%s of %q is %q"):format(case[1], case[2], case[3]), function()
      assert.are.equal(case[3], names[case[1]](case[2]))
    end)
  end
end)

describe("URLs", function()
  for _, case in ipairs {
    { "http://X.com", "http://x.com/" },
    { "Example.COM", "https://example.com/" },
    { "github.com/A/B", "https://github.com/A/B" },
    { "https://x.com:443/a", "https://x.com/a" },
    { "http://x.com:80", "http://x.com/" },
    { "https://x.com:8080", "https://x.com:8080/" },
    { "https://x.com:/a", "https://x.com/a" },
    { "ftp://x.com/a", "https://ftp//x.com/a" },
    { "https://x.com/a b", "https://x.com/a%20b" },
    { "https://x.com/é", "https://x.com/%C3%A9" },
    { "https://x.com?q=1", "https://x.com/?q=1" },
    { "https://x.com#f", "https://x.com/#f" },
    { "https://x.com/?a b'c\"<>", "https://x.com/?a%20b%27c%22%3C%3E" },
    { "https://x.com/a|b\"c<d>`{}", "https://x.com/a|b%22c%3Cd%3E%60%7B%7D" },
    { "https://u:p@x.com/", "https://u:p@x.com/" },
    { "https://x.com/a/../b", "https://x.com/b" },
    { "https://x.com/a/./b/..", "https://x.com/a/" },
    { "https://[::1]:80/a", "https://[::1]:80/a" },
    { " https://x.com ", "https://x.com/" },
    { "https:///x.com/a", "https://x.com/a" },
    { "https://x.com/%zz", "https://x.com/%zz" },
  } do
    it(("%q becomes %s"):format(case[1], case[2]), function()
      assert.are.equal(case[2], url.canonical(case[1]))
    end)
  end
  for _, text in ipairs { "", "<REPLACE ME>", "git@github.com:a/b.git", "https://",
    "https://a b.com", "https://x.com:99999", "https://x.com:1x", "https://x.com/" .. ("a"):rep(2100),
    "https://[zz]/", "https://a^b/" } do
    it(("refuses %q"):format(text:sub(1, 40)), function()
      local found, reason = url.canonical(text)
      assert.is_nil(found)
      assert.is_string(reason)
    end)
  end
  it("takes variables anywhere in artefact URLs", function()
    for _, text in ipairs { "https://x.com/a-$TARGETARCH.deb", "http://${HOST}:$PORT/${A}/b?c=$D#e",
      "https://x.com:8080/a%2Bb@1.0,(x)" } do
      assert.is_true(url.check_artifact(text))
    end
    for _, text in ipairs { "ftp://x.com/a", "https://x.com/a b", "https:///a", "https://x:123456/",
      "https://x.com/a|b", "https://x.com/${A", "x.com/a" } do
      assert.is_false((url.check_artifact(text)))
    end
  end)
end)

describe("people", function()
  for _, case in ipairs {
    { "docker@posit.co", "docker", "docker@posit.co", "docker <docker@posit.co>" },
    { "Posit Docker Team <docker@posit.co>", "Posit Docker Team", "docker@posit.co",
      "Posit Docker Team <docker@posit.co>" },
    { "  N  <a@x.org> ", "N", "a@x.org", "N <a@x.org>" },
    { "<a@x.org>", "a", "a@x.org", "a <a@x.org>" },
    { '"A, B" <a@x.org>', "A, B", "a@x.org", "A, B <a@x.org>" },
    { "N <A.B@EXAMPLE.com>", "N", "A.B@example.com", "N <A.B@example.com>" },
    { "foo.bar+x@y.co", "foo.bar+x", "foo.bar+x@y.co", "foo.bar+x <foo.bar+x@y.co>" },
  } do
    it(("reads %q"):format(case[1]), function()
      assert.are.same({ name = case[2], email = case[3], text = case[4] }, people.parse(case[1]))
    end)
  end
  for _, text in ipairs { "x", "a@b", "a@localhost", "a@x.test", "a@x.invalid", "A B@x.org",
    "A <a@x.org> b", "N <a@x.org", "a@b@c.org", "a..b@x.org", "a@-x.org", "<>", "N <>", "",
    "a@1.2.3.4", "a@[1.2.3.4]", "@x.org", "a@x..org", "a@x.org." } do
    it(("refuses %q"):format(text), function()
      assert.is_nil((people.parse(text)))
    end)
  end
  it("quotes a name with an @", function()
    assert.are.equal('"a@b" <x@y.org>', people.from_map("a@b", "x@y.org").text)
  end)
  it("drops repeated authors and sorts without regard to case", function()
    local list = { people.parse "zoe@x.org", people.parse "Ann <a@x.org>", people.parse "bob@x.org",
      people.parse "zoe@x.org" }
    local out, dropped = people.unique(list)
    assert.are.same({ "Ann <a@x.org>", "bob <bob@x.org>", "zoe <zoe@x.org>" },
      { out[1].text, out[2].text, out[3].text })
    assert.are.same({ "zoe <zoe@x.org>" }, dropped)
  end)
end)

describe("build operating systems", function()
  for _, case in ipairs {
    { "Ubuntu", "ubuntu", "debian", "26.04", "resolute" },
    { "Ubuntu 24.04", "ubuntu", "debian", "24.04", "noble" },
    { "ubuntu 22.04 LTS", "ubuntu", "debian", "22.04", "jammy" },
    { "Ubuntu 20.04", "unknown", "unknown", "" },
    { "Ubuntu-22.04", "unknown", "unknown", "" },
    { "debian 12.5", "debian", "debian", "12", "bookworm" },
    { "Debian 13", "debian", "debian", "13", "trixie" },
    { "debian11", "debian", "debian", "11", "bullseye" },
    { "EL 9", "rhel", "rhel", "9" },
    { "el9", "rhel", "rhel", "9" },
    { "RedHat 8", "rhel", "rhel", "8" },
    { "Red Hat Enterprise Linux 9", "unknown", "unknown", "" },
    { "Rocky Linux 9.3", "rocky", "rhel", "9" },
    { "Alma", "alma", "rhel", "10" },
    { "alma linux 8", "alma", "rhel", "8" },
    { "Scratch", "scratch", "unknown", "" },
    { "scratch 1", "unknown", "unknown", "" },
    { "Fedora 40", "unknown", "unknown", "" },
    { "SLES 15", "unknown", "unknown", "" },
    { " ubuntu  22 ", "ubuntu", "debian", "22.04", "jammy" },
    { "9 lives", "unknown", "unknown", "" },
  } do
    it(("%q is %s %s"):format(case[1], case[2], case[4]), function()
      local found = os_table.identify(case[1])
      assert.are.same({ case[2], case[3], case[4], case[5] },
        { found.name, found.family, found.version, found.codename })
    end)
  end
  it("warns about names that begin with a digit only", function()
    local _, warning = os_table.identify "9 lives"
    assert.is_string(warning)
    _, warning = os_table.identify "Fedora 40"
    assert.is_nil(warning)
  end)
  it("knows package file naming", function()
    local deb, rpm = os_table.identify "Debian 12", os_table.identify "Rocky 9"
    assert.are.same({ "deb", "_", "_" },
      { deb.package_suffix, deb.version_separator, deb.arch_separator })
    assert.are.same({ "rpm", "-", "." },
      { rpm.package_suffix, rpm.version_separator, rpm.arch_separator })
    assert.are.equal("", os_table.identify("scratch").package_suffix)
  end)
end)
