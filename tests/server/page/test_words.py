"""Words as a query: typed, kept in the address, mixed with images, and refused if unknown."""

from __future__ import annotations

from playwright.sync_api import expect

from browsing import tiles, until


def ids(answer) -> list[int]:
    return [match["id"] for match in answer.json()["matches"]]


def test_words_find_images_and_stay_in_the_address(page, open_page, server):
    box = page.locator("#start-words").get_by_role("searchbox", name="Search by words")
    expect(box).to_be_visible()
    page.keyboard.press("/")
    expect(box).to_be_focused()
    box.fill("a photo of a teapot, or a car")
    box.press("Enter")
    found = tiles(page)
    text = "a photo of a teapot, or a car"
    expected = ids(server.search(positive=[{"text": text}], k=200))
    assert found == expected[: len(found)]
    expect(page.locator("#query-name")).to_have_text(f"“{text}”")
    expect(page.locator("#query-label")).to_contain_text("Searching for: teapot")
    expect(page.locator("#history .words")).to_have_text(text)
    expect(page.locator("#crop")).to_be_hidden()
    other = open_page(page.url.partition("/")[2].partition("/")[2].partition("/")[2])
    assert tiles(other) == found


def test_a_match_of_a_word_says_how_sure_the_network_is(open_page, server):
    page = open_page("#search?positive=text:guitar")
    answer = server.search(positive=[{"text": "guitar"}], k=1, min_confidence=0)
    (match,) = answer.json()["matches"]
    assert tiles(page)[0] == match["id"]
    page.locator(".tile .open").first.focus()
    page.keyboard.press("i")
    facts = page.locator("#detail dl")
    expect(facts).to_contain_text(f"Confidence{match['confidence']:.3f}")


def test_words_and_images_are_searched_together(open_page, server):
    page = open_page("#search?positive=text:teapot")
    first = tiles(page)
    page.locator(".tile").first.hover()
    page.locator(".tile .more").first.click()
    expect(page.locator("#examples-bar .words")).to_have_text("teapot")
    page.get_by_role("button", name="Search together").click()
    until(page, f"location.hash.includes('positive=text:teapot,{first[0]}')")
    expect(page.locator("#query-name")).to_have_text("2 examples together")
    found = tiles(page)
    positive = [{"text": "teapot"}, {"id": first[0]}]
    expected = ids(server.search(positive=positive, k=200, exclude_self=True))
    assert found == expected[: len(found)]


def test_unknown_words_are_refused_with_the_nearest_known(results):
    box = results.locator("#query-words").get_by_role("searchbox")
    box.fill("asdfgh")
    box.press("Enter")
    notice = results.locator("#notice")
    expect(notice).to_contain_text("No word of 'asdfgh' is known")
    expect(notice).to_contain_text("afghan")
    # Right to left, in a language that the words are not of.
    box.fill("\u05db\u05dc\u05d1")
    box.press("Enter")
    expect(notice).to_contain_text("No word of '\u05db\u05dc\u05d1' is known")
    box.fill("mushroom")
    box.press("Enter")
    expect(results.locator("#query-label")).to_contain_text("Searching for: ")
    assert tiles(results)
    expect(notice).to_be_hidden()
