"""What people are told of cycles, and in which words.

    facts.py           what a strategy says its decision was made from, read without trust
    effects.py         what a cycle did to the world, and what became of it
    texts_en.py        every text in English
    texts_zh.py        every text in Chinese
    wording.py         a text with its numbers
    status_message.py  the periodic status
    record.py          what each channel has been told already
    telling.py         messages to channels, after a cycle

Which messages a cycle gives is ``cycle/messages.py``'s. Nothing here changes what is traded, and nothing raises into a
cycle.
"""
