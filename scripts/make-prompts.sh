#!/usr/bin/env bash
# Makes prompts for a demonstration: make-prompts.sh FOLDER [LANGUAGE]
#
# Speech by espeak-ng (Debian: apt install espeak-ng), 22,050 Hz WAV, which b2b plays directly. For a real service have
# a person record them under the same file names.
set -euo pipefail

folder=${1:?"a folder, like: $0 prompts"}
language=${2:-en}
command -v espeak-ng >/dev/null || { echo "espeak-ng is missing: apt install espeak-ng" >&2; exit 1; }
mkdir -p "$folder/digits" "$folder/voicemail"

say() { # say FILE TEXT
    espeak-ng -v "$language" -s 150 -w "$folder/$1" "$2"
    echo "$folder/$1"
}

for digit in 0 1 2 3 4 5 6 7 8 9; do say "digits/$digit.wav" "$digit"; done
say digits/star.wav "star"
say digits/hash.wav "hash"
for number in 10 11 12 13 14 15 16 17 18 19 20 30 40 50; do say "digits/$number.wav" "$number"; done

say welcome.wav "Welcome."
say menu.wav "For sales, press 1. For support, press 2. To hear this again, press star."
say sales-or-room.wav "For sales, press 1. For the conference, press 2."
say which-number.wav "Please enter the number of the extension, then press hash."
say you-want.wav "You have chosen"
say still-there.wav "Sorry, I did not hear anything."
say wrong.wav "Sorry, that is not one of the choices."
say busy.wav "Nobody can take your call now."
say goodbye.wav "Good bye."
say position.wav "You are number"
say wait.wav "Your wait will be about"
say minutes.wav "minutes."
say soon.wav "You will be served soon."

# Voicemail: docs/apps/voicemail.md says who hears which prompt.
say voicemail/greeting.wav "Nobody can take your call. Please leave a message after the tone."
say voicemail/kept.wav "Your message has been saved."
say voicemail/not_kept.wav "There was nothing to be heard. Your message has not been saved."
say voicemail/cut.wav "Your message has been cut short."
say voicemail/not_recorded.wav "Sorry, messages cannot be taken now."
say voicemail/full.wav "This mailbox is full."
say voicemail/ask_mailbox.wav "Please enter the number of your mailbox, then press hash."
say voicemail/ask_pin.wav "Please enter your pin, then press hash."
say voicemail/wrong.wav "That was not right."
say voicemail/no_messages.wav "You have no messages."
say voicemail/you_have.wav "You have"
say voicemail/new_messages.wav "new,"
say voicemail/old_messages.wav "old."
say voicemail/choices.wav "To hear it again, press 1. For the next message, press 2. To delete it, press 3. To leave, press 9."
say voicemail/deleted.wav "Deleted."
say voicemail/not_done.wav "Sorry, that was not possible."
say voicemail/no_more.wav "There are no more messages."
say voicemail/goodbye.wav "Good bye."
