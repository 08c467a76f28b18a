"""How people ask: the question wordings of every kind, those that train and those that are kept for testing.

A line is a template. `[a|b|]` is a choice, possibly of nothing; `{audio}` becomes one of `AUDIO_NOUNS`;
`questions.py` fills the other slots: `{an_x}`, `{x}`, `{xs}` an instrument with its article, bare and plural;
`{value}`, `{a_value}` a class word; `{member}` what belongs to a family; `{this}`, `{that}` two candidates.
"""


def _lines(text: str) -> tuple[str, ...]:
    return tuple(" ".join(line.split()) for line in text.strip().splitlines())


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split("/"))


AUDIO_NOUNS = _items("""
    the audio / the audio / the audio / this audio / this audio / the clip / this clip / the song / this song /
    the track / this track / the piece / this piece / the music / this music / the recording / this recording /
    the soundtrack / this excerpt / the sample / this performance / the tune / this passage
""")

# In front of and behind a training question, now and then.
OPENINGS = _items("""
    Tell me, / Hey, / Hi, / So, / Please tell me: / Quick question: / Question: / Ok, / Hello! / And / Now, /
    In {audio}, / I would like to know: / I wonder: / Listen to the audio. / In your opinion, / Listening to {audio}, /
    Just wondering, / Here is a clip. / One more thing:
""")
CLOSINGS = ("please", "thanks", "thank you", "I am curious", "just asking", "do you know", "in your opinion")
# Put anywhere in a training question, now and then: they change nothing of what is asked.
STRAY_WORDS = _items("""
    really / actually / basically / simply / maybe / perhaps / probably / somehow / just / even / still / again /
    today / quickly / carefully / closely / honestly / exactly / precisely / roughly / mostly / mainly / generally
    / overall / altogether / truly / indeed / well / right / then / also / too / once / always / often / usually /
    certainly / clearly / obviously / supposedly / apparently / specifically / particularly / especially /
    essentially / exact / possible / whole / entire / own / actual / certain / various / every / each / another /
    same / good / nice / new / old / little / big / important / interesting / overview / report / comment /
    opinion / impression / view / idea / point / matter / side / section / moment / thing / things / way / part /
    kind / sort / level / subject / question / answer / information / knowledge / expert / friend / everyone /
    somebody / people / person / world / home / work / school / radio / computer / user / customer / reader /
    editor / shop / page / list / note / word / words / make / take / give / get / find / want / need / try / use
    / think / believe / suppose / assume / consider / mention / provide / produce / present / offer / share / add
    / include / state / reveal / indicate / determine / decide / discuss / review / examine / inspect / specify /
    confirm / check / verify / estimate / figure / work out / sum / show / about / from / into / over / under /
    between / among / through / during / before / after / while / because / since / though / however / therefore /
    moreover / besides / instead / otherwise / anyway / according / based
""")

TRAINING = {
    "instrument": _lines("""
        What instrument is playing [in {audio}|here|]?
        Which instrument is playing [in {audio}|here|right now]?
        What is the [main|lead|primary|principal|leading|solo] instrument [in|of] {audio}?
        What is the [main|lead|primary|principal] instrument used in {audio}?
        What instrument is [featured|used|played|heard] in {audio}?
        What instrument is [prominently featured|featured prominently|most prominent|being used|being played] in \
            {audio}?
        Which instrument is [prominently featured|featured prominently|most prominent|used|heard] in {audio}?
        What instrument can you hear [in {audio}|here|]?
        What instrument can be heard [in {audio}|here|]?
        Which instrument do you hear[ in {audio}| here|]?
        Name the [main |lead |leading |]instrument[ in {audio}| of {audio}| here|].
        Identify the [main |lead |]instrument[ in {audio}|].
        Which instrument [carries|has|takes|plays|leads] the [melody|tune|main part|theme|top line]?
        What instrument [carries|plays|performs] the [melody|tune|theme] [in|of] {audio}?
        What plays the [melody|tune|main line]?
        What is playing the [melody|tune|lead] in {audio}?
        [Main|Lead|Leading|Solo|Which|What] instrument?
        Instrument?
        What is being played [in {audio}|here|]?
        Tell me the [main |lead |]instrument [in|of] {audio}.
        Tell me [what|which] instrument [this is|is playing|is played|you hear|plays the melody].
        [Can|Could] you [name|identify|recognise|recognize] the [lead |main |]instrument[ in {audio}|]?
        Which instrument [stands out|leads|dominates|is in front] [in {audio}|here]?
        What instrument makes [this|that] sound?
        What instrument [was|is] {audio} [played|recorded|performed] [on|with]?
        On [what|which] instrument is {audio} [played|performed]?
        What is the [musician|player|performer|soloist] playing?
        Which instrument does the [musician|player|performer|soloist] [play|use|hold]?
        Do you know [what|which] instrument this is?
        [What|Which] instrument is [this|it|that]?
        What's the [main |lead |]instrument[ here| in {audio}|]?
        And the [main |]instrument?
        The [lead |main |]instrument, please.
        Say which instrument [plays|is playing|you hear|leads].
        I want to know [what|which] instrument [this is|plays|is playing|leads].
        Listen and name the [lead |main |]instrument.
        Which instrument is [the loudest|most important|in the foreground|the star] [in {audio}|here|]?
        What instrument am I [listening to|hearing]?
        Which of the instruments has the [lead|main] [role|part]?
        Guess [the|what|which] instrument[ this is|].
        What [kind|type|sort] of instrument is [used|featured|played|playing|leading] in {audio}?
        The [lead|melody|tune|main part] is played by which instrument?
        Someone is playing an instrument: which one?
        Give me the name of the [main |lead |]instrument.
        what's playing
        [What|Which] instrument would you say this is?
        Who plays the melody, which instrument?
        What is this played on?
        Is there one instrument that stands out, and which?
        There is an instrument, but which?
        I wonder what instrument this is.
        Write the name of the lead instrument.
        What are we hearing, which instrument?
        Which instrument are we listening to?
        [What|Which] instrument do we have [in front|in {audio}]?
        What do we have on the melody?
        Which instrument did they [record|choose|use]?
        What is it that plays the [tune|melody]?
        With which instrument is the [tune|melody] played?
        The instrument that [leads|has the melody|is in front] is called what?
        From which instrument does [this|the] sound come?
        What [produces|makes|gives] [this|the] sound?
        Which musical instrument is [it|this|that]?
        My [teacher|friend|daughter] asks which instrument [leads|this is].
        Is it possible to say which instrument [this is|leads]?
        Could you find out which instrument plays?
        What does the [soloist|lead player|first player] play?
        Help me find out [what|which] instrument this is.
        Any idea [what|which] instrument [this is|plays|leads]?
        Do you happen to know the instrument?
        Can anybody tell me which instrument [plays|this is]?
        I am trying to work out the instrument[: what is it|].
        I can hear something playing, what is it?
        Something plays a tune here: what?
        There is a sound in {audio}: from which instrument?
        Of all instruments, which one [leads|plays the tune] here?
        Who has the tune, the piano, the flute or which one?
        Say it in one word: which instrument?
        What might the [lead|main] instrument be?
        Let me know [what|which] instrument has the melody.
        Which instrument shall I learn to play this?
        Lead instrument of {audio}?
        I forgot what this instrument is called.
        What would the musicians call this instrument?
        Recognise the instrument.
        On which instrument does the [soloist|musician|player] perform?
    """),
    "instruments": _lines("""
        What instruments can you hear [in {audio}|here|]?
        [What|Which] instruments can be heard in {audio}?
        [What|Which] instruments are [used|featured|playing|played|present|heard] in {audio}?
        [What|Which] instruments are [playing|there|used here|in it]?
        What [kind|kinds|type|types|sort] of instruments [are used|are featured|can you hear|are playing|do you \
            hear] in {audio}?
        Which instruments do you hear[ in {audio}|]?
        List [the|all the|all] instruments[ in {audio}| you hear|].
        Name [all the|the|every one of the] instruments[ in {audio}|].
        All instruments, please.
        Instruments?
        And the instruments?
        What are the instruments [in|of|used in|featured in] {audio}?
        Tell me [all|which of] the instruments that [play|are playing|you hear].
        Tell me which instruments are used[ in {audio}|].
        [Can|Could] you list the instruments[ in {audio}|]?
        [Can|Could] you name the instruments[ in {audio}|]?
        What is the instrumentation [of|in] {audio}?
        Describe the [instrumentation|instruments|line-up][ of {audio}|].
        Instrumentation?
        Give me [a list of|] the instruments[ in {audio}|].
        Identify all [the|] instruments[ in {audio}|].
        What instruments does {audio} [use|have|contain|feature|include]?
        Which instruments were used [in|for|to make|to record] {audio}?
        What instruments do the [musicians|players|performers] [play|use]?
        What are the [musicians|players|performers] playing?
        Who is playing what[ in {audio}|]?
        What is the line-up[ of {audio}|]?
        which instruments are these
        what instruments are in {audio}
        What is the full list of instruments?
        What instruments is {audio} [written|scored|arranged] for?
        Enumerate the instruments.
        I want to know all the instruments[ in {audio}|].
        What are all the instruments that sound [here|in {audio}|together]?
        Which instruments do we [hear|have here]?
        What instruments make up {audio}?
        What instruments was {audio} performed by?
        Who plays together[, which instruments|]?
        Could you find out what all the instruments are?
        Help me list everything that plays.
        Any idea which instruments these are?
        Which instruments take part[ in {audio}|]?
        The instruments that are playing are which?
        What does the group consist of, which instruments?
        Let me know all instruments.
        How is {audio} instrumented?
        Please name each instrument.
        Say all that plays in {audio}.
        My friend asks which instruments play.
    """),
    "second_instrument": _lines("""
        [Which|What] instrument accompanies [it|the lead|the melody|the main instrument|the soloist]?
        [Which|What] instrument is accompanying [it|the lead|the melody|the main instrument|the soloist]?
        What is the second instrument[ in {audio}|]?
        What is the [accompanying|other|backing] instrument[ in {audio}|]?
        What is the accompaniment[ in {audio}| of {audio}|]?
        What accompanies the [melody|lead|tune|soloist|first instrument|lead instrument][ in {audio}|]?
        Accompaniment?
        Second instrument?
        And the [accompaniment|second instrument|other instrument]?
        [Which|What] instrument plays in the background[ of {audio}|]?
        What instrument can you hear in the background[ of {audio}|]?
        What is playing behind the [lead|melody|main instrument|soloist]?
        What else is playing[ in {audio}| besides the lead| besides the main instrument|]?
        What else do you hear besides the [lead|lead instrument|main instrument|melody]?
        Name the [accompanying|second|backing|other] instrument[ in {audio}|].
        Name the accompaniment.
        Identify the [accompaniment|accompanying instrument|second instrument].
        Who accompanies the [lead|soloist|main player]?
        Tell me what accompanies the [melody|lead|soloist|main instrument].
        Tell me the [second|accompanying|other] instrument.
        By what is the [melody|lead|soloist|main instrument] accompanied?
        The [lead|melody|main instrument] is accompanied by [what|which instrument]?
        What supports the [melody|lead|soloist|main instrument]?
        What plays [along with|together with|next to|alongside] the [lead|main instrument|soloist|melody]?
        Which instrument plays [along with|together with|next to|alongside] the [lead|main instrument|soloist]?
        Which instrument [has|plays|takes] the [accompaniment|second part|backing part|supporting part]?
        What is the [second|other] player playing?
        What is the partner of the lead instrument?
        what is in the background
        what's the accompaniment
        Besides the main instrument, what [plays|is playing|sounds|can you hear]?
        Which other instrument [is there|plays|is playing|can be heard]?
        Is the lead accompanied, and by what?
        What backs the [lead|soloist|melody]?
        What do we hear beside the lead?
        Which instrument is the second one?
        What else can we hear beside the [melody|lead]?
        Could you find out what accompanies the melody?
        Help me name the accompaniment.
        Any idea what plays behind the [lead|melody]?
        With what is the lead [accompanied|combined]?
        Does something accompany the lead, and what?
        Which instrument comes second?
        The accompaniment is [played by|] what?
        Let me know what accompanies it.
        Who else is playing with the [lead|soloist]?
        What sounds under the melody?
        Name whatever accompanies the lead.
    """),
    "family": _lines("""
        [What|Which] family does the [main |lead |]instrument belong to?
        [What|Which] instrument family [is this|is it|is playing|is featured in {audio}|leads|do you hear]?
        [What|Which] family of instruments [is playing|is used|is featured|plays|leads|do you hear] in {audio}?
        To which family does the [main|lead|leading] instrument belong?
        What is the family of the [main|lead|leading] instrument?
        Name the instrument family[ of the lead| in {audio}|].
        Name the family of the [main |lead |]instrument[ in {audio}|].
        Instrument family?
        Family?
        And the [instrument |]family?
        The family of the instrument, please.
        [Which|What] group of instruments does the [lead|main] instrument belong to?
        [Which|What] section of the orchestra [is this|is playing|does it belong to|does the lead come from|do you \
            hear]?
        Is it a keyboard, strings, brass, woodwind, voices or mallets?
        Is the [lead|main] instrument a keyboard, a string, a brass or a woodwind instrument?
        Strings, winds, brass, keyboard, voices or mallets?
        Tell me the [instrument |]family[ of the lead instrument| of the main instrument|].
        Tell me which family of instruments [this is|plays|leads|you hear].
        Identify the [instrument family|family of the instrument].
        Which instrument group is [heard|featured|playing|used][ in {audio}|]?
        How would you classify the [lead|main] instrument?
        Classify the [lead |main |]instrument[ in {audio}|] by family.
        What class of instruments [is this|does it belong to|leads {audio}]?
        What category [of instrument is this|does the instrument fall into|does the lead instrument belong to]?
        In which family would you put the [main|lead] instrument?
        which family is the instrument from
        what family is it
        The lead instrument is a member of which family?
        The instrument is from what family?
        Does it belong to the strings, the brass, the woodwind or another family?
        From which family of instruments is the [lead|sound|melody]?
        I want to know the family of the [lead |main |]instrument.
        Say which instrument family you hear.
        Say the family of the [lead|main] instrument.
        Give me the [instrument family|family of the instrument].
        What is the instrument family [in|of] {audio}?
        Which of the instrument families is it?
        Into which family falls the [lead|main] instrument?
        [What|Which] family of instruments are we listening to?
        Which instrument family do we have here?
        Could you find out which family the instrument is from?
        Help me find the family of this instrument.
        Any idea which family of instruments this is?
        Of which family is [the lead|this instrument]?
        Let me know the instrument family.
        My teacher asks for the family of the instrument.
        In terms of families, what is the [lead|main] instrument?
        Where would you place the [lead|main] instrument: keyboards, strings, winds, brass, voices, mallets?
        Among which instruments does the lead count, strings, brass, woodwind or others?
        Is the lead plucked, bowed, blown, struck or sung?
        The [lead|main] instrument comes from which family?
        What kind of family has the instrument?
        Sort the [lead|main] instrument into a family.
        With which family does the lead sound?
    """),
    "tempo": _lines("""
        What is the [tempo|speed|pace] of {audio}?
        What's the [tempo|speed|pace][ of {audio}| here|]?
        How fast is [it|this|{audio}|the tempo|the playing]?
        How slow or fast is [it|this|{audio}]?
        How [quick|quickly|fast] [is it played|does it go|does {audio} go|do they play|does the music move]?
        Is [it|this|{audio}] [slow or fast|fast or slow|slow, moderate or fast|quick or slow]?
        Is the tempo [slow or fast|fast or slow|slow, moderate or fast|fast, moderate or slow]?
        Is {audio} upbeat or slow[-paced|]?
        Is {audio} fast-paced or slow-paced?
        Tempo?
        [Speed|Pace]?
        Slow or fast?
        Slow, moderate or fast?
        And the [tempo|speed|pace]?
        And how fast is it?
        Describe the [tempo|speed|pace][ of {audio}|].
        How would you describe the [tempo|pace|speed] of {audio}?
        Name the tempo[ of {audio}|].
        Tell me the [tempo|speed|pace][ of {audio}|].
        Tell me how fast [it|this|{audio}] is.
        Tell me [whether|if] {audio} is slow or fast.
        [What|Which] tempo [does {audio} have|is this|is it|is {audio} played at|do you hear|is used]?
        What kind of tempo does {audio} have?
        At [what|which] [tempo|speed|pace] [is {audio} played|does it move|do they play|does {audio} go]?
        What is the overall [tempo|speed|pace][ of {audio}|]?
        What can you say about the [tempo|speed|pace][ of {audio}|]?
        Can you describe the [tempo|pace|speed]?
        Can you tell the [tempo|speed|pace] of {audio}?
        Do they play fast or slow?
        Are they playing [fast or slow|slowly or quickly|at a slow or a fast tempo]?
        how fast
        what speed is it
        the tempo please
        Give me the [tempo|speed|pace].
        Identify the tempo[ of {audio}|].
        Is it a slow, a moderate or a fast [piece|tempo|tune|song]?
        Say [if|whether] it is slow, moderate or fast.
        I want to know [the tempo|how fast it is|the speed][ of {audio}|].
        Does {audio} move slowly or quickly?
        Does it have a [slow or a fast|fast or a slow] tempo?
        Does the music go fast or slow?
        Judge the [speed|tempo] of {audio}.
        How would you rate the speed[ of {audio}|]?
        In what tempo [is this|is {audio}|does it go]?
        How hurried or relaxed is the pace?
        I wonder how fast it [goes|is|moves].
        Check the [tempo|speed][ of {audio}|].
        How fast are we going?
        What tempo do we have[ here|]?
        Could you find out how fast it is?
        Help me with the tempo: is it slow or fast?
        Any idea how fast [this is|it goes]?
        Let me know the [tempo|speed].
        My teacher asks for the tempo.
        Does this [tune|piece|music] hurry or take its time?
        Do we hear slow or fast music?
        Do they take it slow or fast?
        Would a dancer move slowly or quickly to it?
        Is the beat slow, moderate or fast?
        With what speed is {audio} performed?
        What are you hearing, a slow or a fast tempo?
        The tempo is [what|slow or fast]?
        It goes how fast?
        Sort {audio} by tempo: slow, moderate or fast.
        Which of these is the tempo: slow, moderate, fast?
        What word fits the [tempo|speed]?
    """),
    "bpm": _lines("""
        What is the BPM[ of {audio}| here|]?
        What's the bpm?
        BPM?
        [And the|The] BPM[, please|]?
        How many beats per minute [is it|is this|is {audio}|does it have|does {audio} have|are there|do you count]?
        How many BPM [is it|is this|is {audio}|does it have|does {audio} have]?
        How many beats are there [per|in a|in one] minute?
        What is the tempo in [BPM|beats per minute|numbers]?
        What is the speed in [BPM|beats per minute]?
        What tempo in beats per minute [does it have|is this|is {audio}]?
        Estimate the [BPM|beats per minute|tempo in BPM|number of beats per minute][ of {audio}|].
        Give me the [BPM|beats per minute|tempo in BPM|tempo as a number|metronome mark][ of {audio}|].
        Give the tempo as a number.
        Tell me the [BPM|beats per minute|tempo in beats per minute|metronome mark][ of {audio}|].
        Tell me how many beats per minute there are.
        Can you [estimate|measure|count|guess|give] the [BPM|beats per minute][ of {audio}|]?
        Guess the [BPM|beats per minute][ of {audio}|].
        What would a metronome [show|say][ for {audio}|]?
        What metronome mark [fits|suits|belongs to] {audio}?
        Set a metronome to {audio}: [which|what] number?
        What number of beats per minute would you [give|guess|say|estimate]?
        Roughly how many beats per minute[ is it| does it have|]?
        About how many BPM?
        Beats per minute?
        bpm of {audio}
        what bpm is it
        how many bpm
        Which BPM range [is it|does {audio} fall in|fits]?
        In what range of beats per minute is {audio}?
        Count the beats per minute.
        At how many beats per minute [is it played|does it go|do they play]?
        What is the exact BPM?
        How fast is it in [BPM|beats per minute|numbers]?
        I want to know the BPM[ of {audio}|].
        Name the BPM.
        How many beats do we have in a minute?
        Could you find out the BPM?
        Help me find the BPM.
        Any idea of the BPM?
        Let me know the beats per minute.
        My metronome needs a number: which?
        How many times a minute does the beat come?
        At what BPM are we?
        The tempo in BPM is what?
    """),
    "texture": _lines("""
        Is [it|this|{audio}] [a solo, a duo, an ensemble or a band|solo or band|a solo or an ensemble|a band or a \
            solo]?
        Is [it|this|{audio}] played by [one player or several|one or more players|one musician or a group]?
        How many [players|musicians|performers|people] [are there|are playing|play|do you hear|can you hear|can be \
            heard][ in {audio}|]?
        How many [instruments|different instruments] [are there|are playing|play|do you hear|can you hear][ in \
            {audio}|]?
        How many people play [in {audio}|here|]?
        How many are playing?
        What is the [texture|size of the group|setting of the players|ensemble size] [of|in] {audio}?
        What [kind|type|sort|size] of [group|ensemble|formation|line of players] [is playing|plays|is this|performs \
            {audio}|is heard]?
        What [kind|type|sort] of texture does {audio} have?
        Texture?
        And the texture?
        Solo, duo, ensemble or band?
        Solo or group?
        Name the texture[ of {audio}|].
        Describe the texture[ of {audio}|].
        Tell me the [texture|size of the group|number of players][ in {audio}| of {audio}|].
        Tell me [if|whether] it is a solo, a duo, an ensemble or a band.
        Tell me how many [players|musicians|people] [play|are playing|there are].
        Who is performing, [a soloist or a group|one player or many|a solo player or a band]?
        Does one [player|musician|person] play, or [several|many|a group|two]?
        Does {audio} have one player or [several|many|more]?
        Is there one player or [are there more|several|many]?
        Is there just one instrument or [more|several|many]?
        Is the instrument alone or [with others|in a group|accompanied]?
        Is the [player|musician|performer] alone[ or not|]?
        how many players
        how many musicians
        solo or band
        Number of players?
        What is the number of [players|musicians|performers|instruments][ in {audio}|]?
        What size is the [group|ensemble]?
        How big is the [group|ensemble]?
        How large is the [group|ensemble|number of players]?
        Give me the [texture|number of players|size of the group].
        Would you call {audio} a solo, a duo, an ensemble or a band?
        Do you hear [one player or several|a soloist or a group|one instrument or more|a solo or a band]?
        I want to know [how many players there are|if it is a solo or a group|the texture].
        Say whether this is a solo, a duo, an ensemble or a band.
        Is it performed by a [soloist, a pair or a group|single player or a group|single musician or several]?
        Count the [players|musicians|performers][ in {audio}|].
        Is there only one [player|musician]?
        Do they play on their own or as a group?
        I wonder how many people [play|perform|perform {audio}].
        [Which|What] formation [plays|is playing|is this|do you hear]?
        How many players do we [hear|have][ here|]?
        Are we hearing one player or several?
        Could you find out how many play?
        Help me count the players.
        Any idea how many musicians there are?
        Let me know how many players there are.
        Is somebody playing alone, or together with others?
        Who plays: one, two or many?
        Is the group large or small, or is there none?
        The number of players is what?
        How many musicians did it take to play {audio}?
        What kind of line-up is it: solo, duo, ensemble, band?
        Are there two players, or one, or more?
        Sort {audio}: solo, duo, ensemble or band.
        Which of these is it: a solo, a duo, an ensemble, a band?
        By how many is {audio} played?
    """),
    "drums": _lines("""
        Are there [any |]drums[ in {audio}| here| playing|]?
        Are drums [playing|used|present|featured|heard|included|part of the group][ in {audio}| here|]?
        Is there a [drum kit|drum set|drummer|drum beat|drum part|drum track][ in {audio}| here|]?
        Is there any drumming[ in {audio}|]?
        Is there [a drum|any drum][ in {audio}| here|]?
        Can you hear [drums|any drums|a drum kit|a drummer|a drum|the drums|drumming][ in {audio}|]?
        Do you hear [drums|any drums|a drum kit|a drummer|a drum|drumming][ in {audio}|]?
        Do I hear drums?
        Does {audio} [have|contain|feature|include|use] [drums|any drums|a drum kit|a drummer|a drum part]?
        Does a drummer play[ in {audio}| along| here|]?
        Does it have drums?
        [Drums|Any drums|Drum kit|Drummer|Drums or no drums]?
        And [drums|the drums|are there drums]?
        With or without drums?
        Is {audio} with or without drums?
        Has it got drums?
        Is [a drummer|anyone|someone|anybody] [drumming|playing the drums|on drums|on the drums][ in {audio}|]?
        Tell me [if|whether] there are [drums|any drums][ in {audio}|].
        Tell me [if|whether] you hear [drums|a drum kit|a drummer].
        Drums: yes or no?
        Yes or no: are there drums[ in {audio}|]?
        Is the drum kit [playing|used|heard|there][ in {audio}|]?
        any drums in {audio}
        are there drums
        drums?
        Would you say there are drums[ in {audio}|]?
        I think I hear drums, [is that right|am I right|correct]?
        Say whether there are drums[ in {audio}|].
        Were drums [used|recorded|played] in {audio}?
        Is {audio} [played|performed] with drums?
        Is {audio} accompanied by drums?
        Do drums [play|sound|accompany {audio}|accompany the melody|appear in {audio}]?
        Do they [use|have|play] drums?
        Have they got a drummer?
        I want to know if there are drums.
        Is a drum being hit?
        Is there a snare or a kick drum[ in {audio}|]?
        Is anyone hitting [a drum|the drums]?
        Check for drums.
        Do you hear cymbals, a snare or a kick drum?
        Do we hear drums[ in {audio}|]?
        Are we listening to drums?
        Could you find out if there are drums?
        Any idea if there are drums?
        Let me know if there are drums.
        Did they use drums?
        Does anybody play the drums?
        Does somebody beat a drum?
        Is it true that there are drums?
        There are drums, aren't there?
        Are drums among the instruments?
        Is the beat played by a drummer?
        Do the musicians have a drummer?
        Is percussion like drums used in {audio}?
        Might that be a drum kit in the back?
    """),
    "register": _lines("""
        [Which|What] register [is it in|is {audio} in|does it use|does the melody use|does the lead play in|do you \
            hear|is used]?
        In [which|what] register [is it|is {audio}|does the melody lie|does the lead play|is the melody|is it \
            played|is the lead]?
        What is the register [of|in] {audio}?
        What is the register of the [melody|lead|main instrument|tune]?
        Is the [melody|lead|register|pitch|tune|main part] [low, middle or high|high or low|low or high|low, in the \
            middle or high]?
        Is [it|this|{audio}] [low, middle or high|high or low|low or high][ in pitch|]?
        Is {audio} [high-pitched or low-pitched|low-pitched or high-pitched]?
        How [high or low|low or high|high|low] [is it|is this|is {audio}|is the melody|is the lead|is the pitch|does \
            it sound|does the lead play]?
        How high does the [melody|lead|tune|main instrument] [go|lie|play|sound]?
        Register?
        [Pitch|Pitch range|Range]?
        And the [register|pitch]?
        Low, middle or high?
        High or low?
        What is the [pitch|pitch level|pitch range|range|height] of the [melody|lead|main instrument|notes]?
        What [pitch|pitch range|range] [is it in|does it use|does the lead use|does the melody lie in]?
        Name the register[ of the lead| of {audio}| of the melody|].
        Describe the [register|pitch|pitch range][ of {audio}| of the lead| of the melody|].
        How would you describe the [register|pitch|pitch range][ of {audio}| of the melody|]?
        Tell me the [register|pitch range|pitch][ of {audio}| of the lead| of the melody|].
        Tell me [if|whether] the [melody|lead|pitch] is high or low.
        Does the [melody|lead|tune|instrument] [play|sit|lie|sound|move] [high or low|low or high|in the low, middle \
            or high register]?
        Does it sound [high or low|low or high|deep or high|deep or bright]?
        Does {audio} use [low or high|high or low] notes?
        Are the notes [high or low|low or high|low, middle or high|deep or high]?
        What kind of notes, [high or low|low or high]?
        Are they [high or low|low or high] notes?
        high or low
        what register
        the register please
        Give me the [register|pitch range|pitch].
        Identify the register[ of the melody| of the lead|].
        Where does the [melody|lead|tune|pitch] [lie|sit], [high or low|low or high]?
        Which part of the pitch range [is used|does it use|do you hear]?
        I want to know the register[ of the lead| of {audio}|].
        Say [if|whether] it is low, middle or high.
        What can you say about the [register|pitch] of {audio}?
        Is it the low, the middle or the high register?
        On average, how high are the notes?
        How high are we?
        Do we hear [high or low|low or high] notes?
        Could you find out how high the melody lies?
        Help me with the register: low, middle or high?
        Any idea [what|which] register [this is|it is]?
        Let me know the register.
        My teacher asks for the register.
        Does the tune lie low or high?
        Is the [lead|player] using low, middle or high notes?
        How deep or high does the [lead|melody|instrument] sound?
        At what height does the melody move?
        The register is [what|which]?
        Sort the pitch: low, middle or high.
        Which of these is the register: low, middle, high?
        Are we up high or down low?
        In what part of its range does the instrument play, low, middle or high?
        Do they play up high or down low?
    """),
    "loudness": _lines("""
        How loud is [it|this|{audio}|the music|the playing|the volume]?
        How [loud or soft|soft or loud|quiet or loud|loudly|softly] is [it|{audio}|it played|this played]?
        How [soft|quiet] is [it|this|{audio}]?
        Is [it|this|{audio}|the playing|the sound] [loud or soft|soft or loud|loud or quiet|quiet or loud]?
        Is {audio} played [loudly or softly|softly or loudly|loud or soft|quietly or loudly]?
        What is the [loudness|volume|dynamic level|dynamic|level of the sound|volume level] of {audio}?
        What are the dynamics [of {audio}|here|like]?
        Loudness?
        [Volume|Dynamics]?
        Loud or soft?
        [Soft or loud|Quiet or loud|Loud or quiet]?
        And the [loudness|volume|dynamics]?
        And is it loud or soft?
        Describe the [loudness|volume|dynamics|dynamic level][ of {audio}|].
        How would you describe the [loudness|volume|dynamics][ of {audio}|]?
        Tell me the [loudness|volume|dynamics|dynamic level][ of {audio}|].
        Tell me how loud [it|this|{audio}] is.
        Tell me [if|whether] {audio} is [loud or soft|soft or loud|quiet or loud].
        At what [volume|loudness|level|dynamic level] [is it played|do they play|is {audio} played|does it play]?
        [Do they|Does the player|Does the musician] play [loud or soft|loudly or softly|quietly or loudly|softly or \
            loudly]?
        Are they playing [loudly or softly|softly or loudly|loud or soft|quietly or loudly]?
        Does it sound [loud or soft|soft or loud|loud or quiet|quiet or loud]?
        how loud
        loud or soft
        the volume please
        Name the [loudness|dynamic level|dynamics].
        Give me the [loudness|volume|dynamics].
        Identify the [loudness|dynamic level].
        What [dynamic|volume|loudness] [does {audio} have|is it|do you hear]?
        What can you say about the [loudness|volume|dynamics] of {audio}?
        Is the [volume|loudness|dynamic level] [high or low|soft or loud|loud or soft]?
        Is it forte or piano in dynamics?
        Is it a [loud or a soft|soft or a loud|quiet or a loud] [piece|performance|tune|clip]?
        I want to know [the loudness|how loud it is|if it is soft or loud].
        Say [if|whether] it is soft or loud.
        Judge the [loudness|volume] of {audio}.
        How strong or gentle is the [playing|sound]?
        How much [volume|sound] is there?
        Would you call {audio} [loud or soft|soft or loud|quiet or loud]?
        How would you rate the volume[ of {audio}|]?
        How loud do they perform?
        Check the [volume|loudness].
        Do we hear loud or soft music?
        How loud do we have it[ here|]?
        Could you find out how loud it is?
        Help me with the dynamics: soft or loud?
        Any idea how loud this is?
        Let me know how loud it is.
        My teacher asks if it is soft or loud.
        Do the musicians play with force or gently?
        Is the player playing with force or softly?
        The playing is [what, |]soft or loud?
        Would it wake the neighbours, or is it soft?
        Sort {audio}: soft or loud.
        Which of these is it: soft, loud?
        With how much force is it played?
        What word fits the volume, soft or loud?
        Are the dynamics soft or loud?
    """),
    "style": _lines("""
        What is the [style|genre|musical style|musical genre|period|era] of {audio}?
        What is the [main|primary|overall] [genre|style] of {audio}?
        What is the [main|primary|overall] [genre|style] of music [featured |]in {audio}?
        What's the [style|genre|period][ of {audio}| here|]?
        What [genre|style|kind|type|sort] of music is [it|this|{audio}|that|playing|featured in {audio}|in {audio}]?
        What [genre|style] of music is {audio} [tagged as|classified as|in]?
        What [genre|style] [is it|is this|is {audio}|does {audio} belong to|do you hear|would you say it is]?
        What type of music is {audio}?
        What musical [period|era|age|epoch|style|tradition] [is it from|is this from|is {audio} from|does it come \
            from|does {audio} belong to]?
        Which [style|genre|period|era|musical style] [is it|is this|is {audio}|does it belong to|does {audio} belong \
            to|does it sound like]?
        From which [period|era|age|time in music history] [is it|is this|is {audio}|does it come]?
        In [which|what] [style|genre|period] is [it|this|{audio}][ written| composed|]?
        To which [style|genre|period|era] does {audio} belong?
        [Style|Genre|Musical style|Period|Era]?
        And the [style|genre|period]?
        The style, please.
        Name the [style|genre|period|era|musical style][ of {audio}|].
        Identify the [style|genre|period|musical style][ of {audio}|].
        Tell me the [style|genre|period|era|musical style][ of {audio}|].
        Tell me what [kind|style|genre] of music this is.
        Describe the [style|genre|musical style][ of {audio}|].
        How would you describe the [style|genre][ of {audio}|]?
        How would you classify [this music|{audio}|the style|the genre]?
        Classify the [style|genre] of {audio}.
        Is it [medieval, baroque, classical or folk|baroque or classical|classical or folk|baroque or folk]?
        Medieval, baroque, classical or folk?
        Is {audio} [baroque or classical|folk or classical|folk or baroque|medieval or baroque] in style?
        what style is this
        what genre
        what kind of music is this
        Give me the [style|genre|period][ of {audio}|].
        What musical style can you hear[ in {audio}|]?
        What style [is it written in|is used|is {audio} in|does it follow]?
        Guess the [style|genre|period|era][ of {audio}|].
        I want to know the [style|genre|period] of {audio}.
        Say which [style|genre] you hear.
        Under [which|what] [genre|style] would you [file|put|sort] {audio}?
        Into which [genre|style|category of music] does {audio} fall?
        What music is this?
        What was the musical genre of {audio}?
        Which kind of music [is it|am I listening to|do you hear|is playing]?
        What [style|genre|period] comes to mind?
        Check the [style|genre].
        Which style are we hearing?
        What sort of music do we have here?
        Could you find out the style?
        Help me find the [style|genre].
        Any idea [what|which] [style|genre] this is?
        Let me know the [style|genre].
        My [teacher|friend] asks for the style.
        Of what style is [it|this|{audio}]?
        What are we listening to: medieval, baroque, classical or folk?
        When in history would such music be written, which style is it?
        The [style|genre] is [what|which]?
        Sort {audio} by style: medieval, baroque, classical, folk.
        Which of these is the style: medieval, baroque, classical, folk?
        With which style would you label {audio}?
        What style of music do we hear?
        What label fits the [style|genre]?
        What kind of tune is that?
        Can you tell us the kind of music?
        Which kind of music are they performing?
        Tell us what kind of music it is.
    """),
    "choice": _lines("""
        Is [this|it|that] {this} or {that}?
        Is the [lead|main instrument|melody played by] {this} or {that}?
        Do [you|I] hear {this} or {that}?
        Am I hearing {this} or {that}?
        [Which|What] is it, {this} or {that}?
        {this} or {that}?
        Does {this} or {that} play the [melody|tune|lead]?
        Is {this} or {that} playing[ in {audio}|]?
        Tell me if this is {this} or {that}.
        Does {audio} feature {this} or {that}?
        Which one [is playing|leads|plays the melody|do you hear]: {this} or {that}?
        Is it {this}, or is it {that}?
        Would you say {this} or {that}?
        What plays, {this} or {that}?
        I cannot decide: {this} or {that}?
        Is there {this} or {that} in {audio}?
        Choose: {this} or {that}.
        Choose one, {this} or {that}?
        is this {this} or {that}
        The lead is {this} or {that}?
        Can you hear {this} or {that}?
        What sounds here, {this} or {that}?
        More like {this} or more like {that}?
        Do they use {this} or {that}?
        Is {audio} played on {this} or {that}?
        Was it {this} or {that}?
        Pick one: {this} or {that}.
        Say whether it is {this} or {that}.
        Does it sound like {this} or like {that}?
        Which of the two is it, {this} or {that}?
        Are we listening to {this} or {that}?
        Do we hear {this} or {that}?
        Could you find out if it is {this} or {that}?
        Help me: {this} or {that}?
        Any idea if this is {this} or {that}?
        Let me know if it is {this} or {that}.
        My friend says {this}, I say {that}: who is right?
        {this} or {that}, which one do you hear?
        Should I call it {this} or {that}?
        Did they use {this} or {that}?
        What do you hear more, {this} or {that}?
        Of {this} and {that}, which one plays?
        It sounds like {this} or {that}, which one?
    """),
    # The four fixed questions of MusicQA come first in `DESCRIBE_FORMS`; these are their relatives.
    "describe short": _lines("""
        Describe the audio
        Describe the audio
        Describe {audio}.
        [Please |Can you |Could you |]describe {audio}[ briefly| in a few words| in one sentence| in short|].
        Summarise {audio}.
        [Give|Write] [me |][a summary of|a short description of|a caption for|a short summary of] {audio}.
        Caption {audio}.
        Write a caption.
        Caption?
        Description?
        What is [this|{audio}|it] like?
        In one sentence, what is {audio}?
        Sum up {audio}.
        Tell me about {audio}.
        How would you describe {audio}?
        How does {audio} sound?
        How does it sound?
        What does {audio} sound like?
        What does it sound like?
        Characterise {audio}.
        describe this
        describe it
        Say something about {audio}.
        What can you say about {audio}?
        Could you describe {audio} for us?
        Help me describe {audio}.
        What sort of thing is {audio}?
        Let me know what {audio} is like.
        What would you tell a friend about {audio}?
        Put {audio} into words.
        Put it in one sentence.
        Make a caption for {audio}.
        A few words on {audio}, please.
        Describe in short what is played.
        What kind of recording is {audio}, in short?
        Give us an idea of {audio}.
        A summary, please.
        Introduce {audio} to me.
        How would one describe {audio}?
        In a few words: what is {audio}?
        Please tell us about {audio}.
        A short text about {audio}, please.
    """),
    "describe detail": _lines("""
        Describe the audio in detail
        Describe the audio in detail
        Describe {audio} in detail.
        [Please |Can you |Could you |]describe {audio} [in detail|in full|in depth|at length|thoroughly|as fully as \
            you can].
        Give [me |]a [detailed|full|long|complete|thorough] description of {audio}.
        Write a [detailed|long|full] description of {audio}.
        Tell me everything about {audio}.
        Tell me everything you [hear|know|can] about {audio}.
        Tell me all about {audio}.
        Analyse {audio} in detail.
        Give me all the details[ of {audio}|].
        Explain {audio} in detail.
        Detailed description?
        What are the details of {audio}?
        Describe every aspect of {audio}.
        Describe all [the |]aspects of {audio}.
        Describe {audio} with all its details.
        I want a detailed description[ of {audio}|].
        Could you describe {audio} with every detail?
        Let me know everything about {audio}.
        Tell us all that you can about {audio}.
        A long and detailed text about {audio}, please.
        Describe {audio} from all sides.
        Go through {audio} in detail.
        What can you tell me about {audio} in detail?
        I need all the details of {audio}.
        Describe the instruments, the tempo, the style and all the rest.
        All that you know about {audio}, please.
        In detail, what is {audio} like?
        Give a full account of {audio}.
        Help me with a detailed description.
        Please be thorough and describe {audio}.
        Explain {audio} to me, with all that belongs to it.
        Talk at length about {audio}.
        Explain fully what is played and how.
        Speak about {audio} for as long as you like.
        Explain how {audio} sounds, leaving nothing out.
        Every detail, please.
        Which aspects does {audio} have, one by one?
        Tell the whole story of the sound of {audio}.
        I need a complete picture of {audio}.
    """),
    "describe hear": _lines("""
        What do you hear in the audio?
        What do you hear in the audio?
        What do you hear in {audio}?
        What do you hear?
        What can you hear [in {audio}|]?
        What can be heard [in {audio}|]?
        What am I [hearing|listening to]?
        Tell me what you hear[ in {audio}|].
        Say what you hear[ in {audio}|].
        Describe what you hear[ in {audio}|].
        What sounds [are there|do you hear|are in {audio}|can be heard|can you hear]?
        What is there to hear in {audio}?
        What is in {audio}?
        What is [happening|going on] in {audio}?
        What is happening?
        what do you hear
        What happens in {audio}?
        What can we hear[ in {audio}|]?
        What are we hearing[ in {audio}|]?
        What are we listening to?
        What does one hear in {audio}?
        What do we have here?
        What reaches your ears?
        What did you hear?
        What would a listener hear[ in {audio}|]?
        Listen to {audio}: what is there?
        Let me know what you hear.
        Could you tell me what you hear?
        Help me: what is to be heard?
        What is sounding here?
        Which sounds can we hear?
        Tell us what is to be heard.
        What comes out of the speakers?
        What are the sounds of {audio}?
        What is being played and how?
        What are you hearing?
        Name what you hear in {audio}.
        Name the sounds of {audio}.
        What kinds of sounds are these?
        What sounds reach you from {audio}?
    """),
    "describe inferred": _lines("""
        What can be inferred from the audio?
        What can be inferred from the audio?
        What can be inferred from {audio}?
        What can you infer from {audio}?
        What can you [conclude|deduce|learn|gather|understand] from {audio}?
        What can be [concluded|deduced|learned|gathered|understood] from {audio}?
        What do you [conclude|infer|gather] from {audio}?
        What does {audio} tell [you|us]?
        What does {audio} suggest?
        Infer what you can from {audio}.
        What would you conclude from {audio}?
        What may we infer from {audio}?
        Which conclusions can be drawn from {audio}?
        Draw your conclusions from {audio}.
        Can anything be inferred from {audio}?
        What do you deduce from {audio}?
        Conclusions?
        Judging by {audio}, what can be inferred?
        What follows from what you hear?
        What can one tell from {audio}?
        What do we know from hearing {audio}?
        Having listened to {audio}, what can you infer?
        After listening, what do you conclude?
        What would a listener infer[ from {audio}|]?
        What does the sound tell us about {audio}?
        Infer something from {audio}.
        Let me know what you infer.
        Could you draw conclusions from {audio}?
        Which things can you infer by listening?
        When you hear {audio}, what do you conclude?
        What do you deduce from the sound?
        What is to be inferred here?
        What may be deduced from listening to {audio}?
        Help me draw conclusions.
        What did you learn from {audio}?
        By listening alone, what can you deduce?
    """),
}

# Yes/no questions, by what they are about; drums use the wordings of the kind "drums".
YES_NO_TRAINING = {
    "instrument": _lines("""
        Is there {an_x}[ in {audio}| here| playing|]?
        Is {an_x} [playing|used|heard|present|featured|included][ in {audio}| here|]?
        Can you hear {an_x}[ in {audio}|]?
        Can you hear the {x}[ in {audio}|]?
        Do you hear {an_x}[ in {audio}|]?
        Do you hear any {x}[ in {audio}|]?
        Does {audio} [have|contain|feature|include|use] {an_x}?
        Does {audio} [have|contain|feature|include|use] any {x}?
        Is [this|it|that] {an_x}?
        Is that {an_x} I hear?
        Is the {x} [used|present|featured|heard|playing|played] in {audio}?
        Any {x}[ in {audio}| here|]?
        [{an_x}|{x}|Is it {x}]?
        Do I hear {an_x}?
        Is {an_x} part of {audio}?
        Are there any {xs}[ in {audio}|]?
        {x}: yes or no?
        Yes or no: is there {an_x}[ in {audio}|]?
        Would you say there is {an_x} in {audio}?
        Does {an_x} [play|appear|sound] in {audio}?
        Was {an_x} used [in {audio}|here]?
        Tell me [if|whether] there is {an_x}[ in {audio}|].
        Tell me [if|whether] you hear {an_x}.
        I think I hear {an_x}, [is that right|am I right|correct]?
        Is there the sound of {an_x}[ in {audio}|]?
        Have they used {an_x}?
        Do they [use|have] {an_x}?
        Is any {x} [playing|heard|used|there]?
        And {an_x}?
        Say whether there is {an_x} in {audio}.
        Has it got {an_x}?
        Check for {an_x}.
        Do we hear {an_x}[ in {audio}|]?
        Are we listening to {an_x}?
        Am I listening to {an_x}?
        Do the instruments include {an_x}?
        Does anybody play {an_x}?
        Is somebody playing the {x}[ in {audio}|]?
        Is it true that there is {an_x}?
        There is {an_x}, isn't there?
        {x} or no {x}?
        Is what I hear {an_x}?
        Did they use {an_x}?
        Let me know if there is {an_x}.
        Could you find out if there is {an_x}?
        Any idea if there is {an_x}?
        My friend hears {an_x}: is that right?
        I am looking for {an_x}: is it there?
        Might {an_x} be playing?
        Is it possible that {an_x} plays?
        Does it sound like {an_x}?
        Are they playing {an_x}?
        Is the {x} there?
    """),
    "bass": _lines("""
        Is there a [bass|bass line|bass guitar|bass player|bass part][ in {audio}| here|]?
        Can you hear [a|the] bass[ in {audio}|]?
        Do you hear [a|any] bass[ line|][ in {audio}|]?
        Does {audio} [have|contain|feature|use] a bass[ line| guitar|]?
        Is a bass [playing|used|heard][ in {audio}|]?
        Any bass[ in {audio}|]?
        Bass?
        Is there [any |]bass[ in {audio}|]?
        Tell me if there is a bass[ in {audio}|].
        Yes or no: is there a bass?
        Does a bass [play|accompany the melody|support the lead]?
        And a bass?
        Do we hear a bass?
        Did they use a bass?
        Let me know if there is a bass.
        Does anybody play the bass?
        Is it true that there is a bass?
        Is a bass among the instruments?
        There is a bass, isn't there?
        Could you find out if a bass plays?
    """),
    "family": _lines("""
        Are there [any |]{value}[ in {audio}| here| playing|]?
        Are [any |]{value} [playing|used|heard|featured|present][ in {audio}| here|]?
        Can you hear [any |]{value}[ in {audio}|]?
        Do you hear [any |]{value}[ in {audio}|]?
        Does {audio} [have|contain|feature|include|use] [any |]{value}?
        [Any {value}|{value}][ in {audio}| here|]?
        Is there a {member}[ in {audio}| here| playing|]?
        Is {audio} played [by|with|on] a {member}?
        Is a {member} [playing|used|heard|featured][ in {audio}|]?
        Is this a {member}?
        Is it a {member}?
        Does a {member} [play|sound|lead] in {audio}?
        {value}: yes or no?
        Yes or no: are there {value}[ in {audio}|]?
        Tell me [if|whether] there are {value}[ in {audio}|].
        Do I hear {value}?
        Would you say there are {value}[ in {audio}|]?
        Do {value} [play|sound|appear] in {audio}?
        I think I hear {value}, [is that right|am I right|correct]?
        Has it got {value}?
        Do they [use|have] {value}?
        Were {value} used in {audio}?
        And {value}?
        Check for {value}.
        Do we hear [any |]{value}[ in {audio}|]?
        Are we listening to {value}?
        Do the instruments include [any |]{value}?
        Does anybody play a {member}?
        Is it true that there are {value}?
        There are {value}, aren't there?
        Did they use {value}?
        Let me know if there are {value}.
        Could you find out if there are {value}?
        Any idea if {value} play?
        My friend hears {value}: is that right?
        I am looking for {value}: are they there?
        Is it possible that a {member} plays?
        Is what I hear a {member}?
    """),
    "voices": _lines("""
        Are there [any |]vocals[ in {audio}| here|]?
        Is there [any |]singing[ in {audio}| here|]?
        Is [anyone|someone|anybody|a choir] singing[ in {audio}|]?
        Are there [any |]singers[ in {audio}|]?
        Does {audio} [have|contain|feature|include] [vocals|singing|voices|any vocals|any singing|a vocal part]?
        Can you hear [singing|vocals|voices|people singing|a voice][ in {audio}|]?
        Do you hear [singing|vocals|voices|people singing|a voice][ in {audio}|]?
        [Vocals|Singing|Voices|Any vocals|Any singing]?
        Is [it|this|{audio}] [vocal|sung]?
        Do people sing[ in {audio}|]?
        Tell me if there is singing[ in {audio}|].
        Does [anyone|someone|somebody] sing[ in {audio}|]?
        Is there a [voice|singer|vocal part][ in {audio}|]?
        Are people singing?
        Yes or no: are there vocals?
        Do we hear [voices|singing|vocals]?
        Are we listening to singers?
        Is it true that people sing?
        Let me know if anybody sings.
        Could you find out if there is singing?
        There is singing, isn't there?
        Do the musicians sing?
    """),
    "tempo": _lines("""
        Is [it|this|{audio}|the tempo|the music|the pace|the speed] {value}?
        Is {audio} played at a {value} [tempo|speed|pace]?
        Does {audio} have a {value} [tempo|speed|pace]?
        Is this a {value} [piece|tune|song|clip|one]?
        Would you [say|call] [it is|it] {value} in tempo?
        Would you call the tempo {value}?
        Does it [sound|go|move] {value}?
        Is the playing {value}?
        {value} tempo: yes or no?
        Yes or no: is it {value}?
        [Is it {value}|{value}], [right|am I right|correct]?
        Tell me [if|whether] [it|{audio}|the tempo] is {value}.
        Do they play at a {value} [tempo|speed|pace]?
        Do you hear a {value} tempo?
        {value}?
        Are we hearing a {value} tempo?
        Is it true that the [tempo|music] is {value}?
        The tempo is {value}, isn't it?
        Do they play {value} music, as to tempo?
        Let me know if the tempo is {value}.
        Could you find out if it is {value} in tempo?
        Any idea if the tempo is {value}?
        My friend says the tempo is {value}: is that right?
        Is it {value} music?
        Does {audio} go at a {value} speed?
        Is {value} the right word for the [tempo|speed]?
        Does the beat go at a {value} pace?
    """),
    "texture": _lines("""
        Is [it|this|{audio}] {a_value}?
        Is this {a_value}, [yes or no|am I right|correct]?
        Would you [call|say] [it|this|{audio}] [is |]{a_value}?
        Do you hear {a_value}[ in {audio}|]?
        Can you hear {a_value}?
        Is {a_value} playing[ in {audio}|]?
        Is {audio} [played|performed] by {a_value}?
        Yes or no: is this {a_value}?
        Tell me [if|whether] it is {a_value}.
        [{a_value}|{value}]?
        I think this is {a_value}, [is that right|am I right|correct]?
        Is that {a_value}?
        Does it sound like {a_value}?
        Is {audio} for {a_value}?
        Does {a_value} play [in {audio}|here]?
        Do we hear {a_value}?
        Are we listening to {a_value}?
        Is it true that this is {a_value}?
        It is {a_value}, isn't it?
        Let me know if this is {a_value}.
        Could you find out if it is {a_value}?
        Any idea if this is {a_value}?
        My friend says it is {a_value}: is that right?
        Is it {a_value} that we hear in {audio}?
        Did {a_value} record {audio}?
        Is {a_value} what plays?
    """),
    "register": _lines("""
        Is the [melody|lead|pitch|register|tune] {value}?
        Is it {value} in pitch?
        Is {audio} in the {value} register?
        Is the [melody|lead] in the {value} register?
        Does the [lead|melody|instrument] play in the {value} register?
        Are the notes [in the {value} register|of {value} pitch|{value}]?
        Does it use the {value} register?
        Yes or no: is the [pitch|register] {value}?
        Tell me [if|whether] the [register|pitch|melody] is {value}.
        Do you hear [notes in the {value} register|a {value} melody]?
        Would you call the [pitch|register] {value}?
        {value} register?
        {value} pitch?
        I think the register is {value}, [is that right|am I right|correct]?
        Is it played in a {value} register?
        Do we hear a {value} register?
        Is it true that the [pitch|register] is {value}?
        The register is {value}, isn't it?
        Let me know if the register is {value}.
        Could you find out if the pitch is {value}?
        Any idea if the register is {value}?
        My friend says the pitch is {value}: is that right?
        Does the tune lie in the {value} register?
        Is {value} the right word for the [register|pitch]?
        Do they play notes of the {value} register?
        Are we in the {value} register?
        Do these notes count as {value}?
        Are these {value} notes?
        Is it made of {value} notes?
        Is the middle of its pitch range {value}?
    """),
    "loudness": _lines("""
        Is [it|this|{audio}|the music|the sound|the playing] {value}?
        Is it played {value}?
        Is the volume {value}?
        Would you [call|say] [it|this|{audio}] [is |]{value}?
        Does it sound {value}?
        Does {audio} sound {value}?
        Do they play {value}?
        Yes or no: is it {value}?
        Tell me [if|whether] [it|{audio}] is {value}.
        Is this a {value} [piece|performance|tune|clip]?
        {value}?
        I think it is {value}, [is that right|am I right|correct]?
        Is it {value} or not?
        Are they playing {value}?
        Is {audio} rather {value}?
        Do we hear {value} playing?
        Is it true that the [playing|music] is {value}?
        The playing is {value}, isn't it?
        Let me know if the playing is {value}.
        Could you find out if it is {value}?
        Any idea if it is {value}?
        My friend says the playing is {value}: is that right?
        Is {value} the right word for the [volume|playing|sound]?
        Are the dynamics {value}?
        Do the musicians play {value}?
        Is the loudness {value}?
    """),
    "style": _lines("""
        Is [it|this|{audio}|the style|the genre|the music] {value}?
        Is [this|it|{audio}] {value} music?
        Is {audio} [a {value} piece|in {value} style|in the {value} style|of the {value} kind]?
        Is the [style|genre|period] of {audio} {value}?
        Would you [call|say] [it|this|{audio}] [is |]{value}?
        Does [it|{audio}] sound {value}?
        Does it sound like {value} music?
        Does {audio} belong to {value} music?
        Yes or no: is it {value}?
        Tell me [if|whether] [it|{audio}] is {value}.
        Tell me [if|whether] this is {value} music.
        {value} music?
        {value} style?
        I think it is {value}, [is that right|am I right|correct]?
        Do you hear {value} music?
        Could you call this {value} music?
        Do we hear {value} music?
        Are we listening to {value} music?
        Is it true that the style is {value}?
        The style is {value}, isn't it?
        Let me know if the style is {value}.
        Could you find out if this is {value} music?
        Any idea if the style is {value}?
        My friend says it is {value} music: is that right?
        Is {value} the right word for the [style|genre]?
        Did they play {value} music?
        Is it a tune of {value} style?
    """),
}

# Words for yes/no questions about a family: its plural name, and what a member of it is called.
FAMILY_NAMES = {
    "keyboard": ("keyboards", "keyboard instruments"),
    "plucked strings": ("plucked strings", "plucked string instruments"),
    "bowed strings": ("bowed strings", "bowed string instruments"),
    "brass": ("brass instruments", "brass"),
    "woodwind": ("woodwinds", "woodwind instruments"),
    "voices": ("voices", "human voices"),
    "mallets": ("mallets", "mallet instruments"),
    "strings": ("strings", "string instruments"),
}
FAMILY_MEMBERS = {
    "keyboard": "keyboard instrument",
    "plucked strings": "plucked string instrument",
    "bowed strings": "bowed string instrument",
    "brass": "brass instrument",
    "woodwind": "woodwind instrument",
    "voices": "choir of voices",
    "mallets": "mallet instrument",
    "strings": "string instrument",
}
# Everyday words for the classes, in yes/no questions.
TEMPO_WORDS = {
    "slow": ("slow", "slow-paced"),
    "moderate": ("moderate", "medium"),
    "fast": ("fast", "quick", "fast-paced"),
}
TEXTURE_WORDS = {
    "solo": ("a solo", "a soloist", "one player alone", "a single player"),
    "duo": ("a duo", "a duet", "two players"),
    "ensemble": ("an ensemble", "an ensemble of several players"),
    "band": ("a band", "a full band"),
}
LOUDNESS_WORDS = {"soft": ("soft", "quiet"), "loud": ("loud",)}
REGISTER_WORDS = {"low": ("low", "deep"), "middle": ("middle",), "high": ("high",)}

# What cannot be told from a clip -> (what the answer calls it, training wordings, held-out wordings).
CANNOT_TELL = {
    "key": (
        "the key",
        _lines("""
            What key is [it|this|{audio}] in?
            [Which|What] key [does {audio} use|is used|is it]?
            What is the [key|tonic|home note|tonality|key signature] of {audio}?
            In [which|what] key is [it|this|{audio}][ written| played|]?
            Key?
            And the key?
            Name the [key|tonic|key signature][ of {audio}|].
            Tell me the [key|tonality][ of {audio}|].
            Is [it|this|{audio}] in [C|D|G|F|A|E|B flat|E flat] [major|minor]?
            What scale is used[ in {audio}|]?
            How many sharps [or flats |]are there?
            Could you find out the key?
            Any idea of the key?
            In which key are we?
            Do we hear [D|G|A|C] [major|minor]?
            Let me know the key.
            On which note is the scale built?
            What is the scale of the melody?
            Is the home note [C|D|E|F|G|A|B]?
            Which note is the tonic?
            What tonic do you hear?
            Around which note does the melody turn?
        """),
        _lines("""
            Could you name the key that this is played in?
            Which tonic does the melody have?
            Do you know what scale {audio} is in?
            Is the key of this tune G major?
        """),
    ),
    "mode": (
        "whether it is major or minor",
        _lines("""
            Is [it|this|{audio}] [major or minor|minor or major|in major or in minor|in a major or a minor key]?
            Major or minor?
            What is the mode of {audio}?
            Is [it|{audio}] in a [minor|major] [key|mode]?
            Is [it|{audio}] [minor|major]?
            [Which|What] mode is [it|this|{audio}] in?
            Mode?
            Tell me [if|whether] it is major or minor.
            Is the mode [dorian|major|minor|lydian]?
            Is the key major or minor?
            Do we hear major or minor?
            Could you find out whether it is major or minor?
            Let me know if this is major or minor.
            Does it sound [major|minor|major or minor]?
            Any idea if it is [major|minor]?
            Is it true that this is in [minor|major]?
        """),
        _lines("""
            Do you hear a minor or a major mode?
            Do you know if the mode is major?
            Would you call this a minor key?
        """),
    ),
    "metre": (
        "the metre",
        _lines("""
            What is the [metre|meter|time signature] of {audio}?
            What time signature [is it in|does it have|does {audio} use|is used]?
            In [which|what] [metre|meter|time] is [it|this|{audio}]?
            Is [it|this|{audio}] in [three|four|three-four|four-four|six-eight|3/4|4/4|6/8][ time|]?
            How many beats are there in a [bar|measure]?
            How many beats does a [bar|measure] have?
            [Metre|Meter|Time signature]?
            And the [metre|time signature]?
            Is it [a waltz|in waltz time|a march|duple or triple|triple or duple time]?
            Count the beats in a bar.
            Tell me the [metre|meter|time signature][ of {audio}|].
            Could one dance a waltz to it?
            Any idea of the time signature?
            Do we count three or four?
            Do you count [three|two|four|three or four] in a bar?
            Could you find out the [metre|meter|time signature]?
            Is it [a jig|a polka|a minuet|a reel|like a waltz|like a march]?
            Let me know the time signature.
            Do they play a waltz?
            Does it have [three|four|two|six] beats to the bar?
            Is this [a waltz|a march|a minuet] or not?
        """),
        _lines("""
            Which time signature would you write for {audio}?
            Does every bar have three or four beats?
            Is the metre duple?
            Could this be a waltz?
        """),
    ),
    "lyrics": (
        "the words",
        _lines("""
            What are the [lyrics|words][ of {audio}| about|]?
            What is [sung|being sung|the singer singing|the choir singing about|the text|said]?
            What do they [sing|sing about|say]?
            What is {audio} about?
            What do the lyrics [say|mean]?
            [Lyrics|Words]?
            Write down the [lyrics|words].
            Tell me the [lyrics|words][ of {audio}|].
            In [what|which] language [is it sung|do they sing|are the lyrics]?
            What is the [theme|story|message|main theme|overall theme|meaning] [of|behind] {audio}?
            What language is this?
            What are they singing?
            Could you find out the words?
            Is the text about [love|war|the sea|God]?
            Let me know what the singers say.
            Do we hear [English|French|German|Latin] words?
            What does the text tell us?
            What does the choir sing about?
        """),
        _lines("""
            What words do you hear the choir say?
            Could you write what they sing?
            Which story do the lyrics tell?
            Do you know the message of the text?
        """),
    ),
    "singer": (
        "who sings",
        _lines("""
            Who is [singing|the singer|the vocalist]?
            Is the [singer|vocalist|voice] [male or female|a man or a woman|female|male|a woman|a man]?
            Is it a [male|female] [voice|singer]?
            What is the gender of the singer?
            How old is the singer?
            [Name|Tell me] the [singer|vocalist].
            Who sings[ in {audio}| this|]?
            Male or female vocals?
            What is the name of the singer?
            Any idea who sings?
            Could you find out who the singer is?
            Are the singers [men or women|women|men|children]?
            Do we hear a [man|woman|boy|girl] sing?
            Let me know who the singer is.
            Which singer is this?
        """),
        _lines("""
            Do you know who sings this tune?
            A man or a woman, who sings?
            Do you hear the voice of a woman?
        """),
    ),
    "artist": (
        "who plays it",
        _lines("""
            Who is the [artist|musician|performer|band|artist or group|pianist|player] [of|behind|in] {audio}?
            Who are the [artists|musicians|main artists|performers] [behind|in|featured in|of] {audio}?
            Which artist [is this|made {audio}|plays this|recorded {audio}]?
            Who [plays|performs|recorded|made] [it|this|{audio}]?
            [Artist|Performer]?
            What is the name of the [band|artist|group|musician|orchestra|player]?
            Name the [artist|performer|musicians|orchestra][ of {audio}|].
            Which orchestra is it?
            Who is on the cover?
            Who is famous for {audio}?
            Could you find out who plays?
            Any idea who the [musicians|players|performers] are?
            Who are the people who [play|made this|made {audio}]?
            Which [group|band|ensemble|orchestra|people] [recorded|made|performed] [this|{audio}]?
            Let me know the name of the [player|musician|band].
            Whom do we hear playing?
            Whose recording is this?
            Is it a famous [band|pianist|orchestra|player|musician|group]?
            From which group is {audio}?
        """),
        _lines("""
            Tell me the name of the artist who recorded this.
            What group of people made {audio}?
            Which musician is behind the song?
            Who is the famous performer that we hear?
        """),
    ),
    "composer": (
        "the composer",
        _lines("""
            Who [composed|wrote|is the composer of|created] {audio}?
            Who composed [it|this]?
            Who wrote [it|this]?
            Composer?
            And the composer?
            Name the composer[ of {audio}|].
            Is it by [Bach|Mozart|Beethoven|Chopin|Haydn|Joplin|Schumann]?
            Is this [Bach|Mozart|Beethoven|Chopin|Haydn|Joplin|Schumann]?
            Did [Bach|Mozart|Beethoven|Chopin|Haydn] write {audio}?
            Which composer [is this|wrote it|is it by]?
            What is the name of the composer?
            By whom is it?
            Could you find out who composed it?
            Any idea who wrote this?
            Let me know the composer.
            Whose composition is {audio}?
            Whose music is this?
            Is the composer [Bach|Mozart|famous|alive|German]?
            Who might have written this?
        """),
        _lines("""
            Do you know the composer who created this?
            Was it Mozart who composed this music?
            Can you tell who wrote the melody?
            Is Bach the composer of this tune?
        """),
    ),
    "title": (
        "the title",
        _lines("""
            What is the [title|name] of {audio}?
            What is {audio} called?
            What is [it|this] called?
            [Title|Song title|Name of the song]?
            And the title?
            Name this song.
            Name this [tune|piece].
            Which [song|piece|work|symphony|sonata] is [this|it]?
            What song is [this|it|that]?
            Tell me the [title|name of the song|name of the piece].
            What [album|film|movie|game|opera] is [it|this|{audio}] from?
            Which album [contains|has] {audio}?
            From [which|what] [film|game|show|opera] do I know this?
            On which [album|record] does it appear?
            Is it from [a film|a game|an album|an opera|a show]?
            Could you find out the title?
            Any idea what this is called?
            Let me know the title.
            How is {audio} called?
            What do people call this [song|tune|piece]?
            Do you recognise the song?
            Where have I heard this tune before?
        """),
        _lines("""
            Do you know how this song is called?
            Which title does {audio} have?
            From which album or film is this?
        """),
    ),
    "year": (
        "when it was made",
        _lines("""
            When was {audio} [released|written|composed|recorded|made]?
            What year is [it|this|{audio}] from?
            In [what|which] year was it [written|made|recorded|released|composed]?
            How old is [it|this|{audio}]?
            Year?
            What is the [release date|date|year] of {audio}?
            What is the historical context of {audio}?
            What is the history of {audio}?
            Which decade is it from?
            Could you find out when it was written?
            Any idea how old this is?
            Let me know the year.
            In which century was {audio} written?
            Is it [old|new|from 1750|from the nineties]?
            What is the age of {audio}?
        """),
        _lines("""
            Do you know the year in which it was composed?
            What date was this released?
            Do you know how old the recording is?
        """),
    ),
    "place": (
        "where it comes from",
        _lines("""
            Where [was {audio} recorded|does {audio} come from|is it from|is {audio} from|was it made]?
            [What|Which] country [is it|is this|is {audio}|does it come] from?
            What is the origin of {audio}?
            What is the setting of {audio}?
            Is it [French|German|Italian|Irish|American|Spanish|Chinese|Indian|Russian]?
            In which [city|country|studio|hall|church] was {audio} recorded?
            Which culture [is it from|does it belong to]?
            Country?
            Where is the band from?
            Could you find out where it comes from?
            Any idea where this is from?
            Let me know the country.
            Is the music from [France|Ireland|Italy|Germany|Spain|Asia]?
            Which part of the world is it from?
            Where do the musicians live?
        """),
        _lines("""
            Which country does the artist come from?
            Do you know the city where this was made?
            Is the origin of {audio} Irish?
        """),
    ),
    "mood": (
        "the mood",
        _lines("""
            What is the [mood|overall mood|atmosphere|tone|overall tone|vibe|overall vibe|feel|emotional tone] of \
                {audio}?
            What [mood|emotion|emotions|feeling|feelings] does {audio} [evoke|convey|express|create]?
            What [kind|kinds|type] of [mood|emotion|emotions|atmosphere|feelings] does {audio} \
                [evoke|convey|express|create]?
            How would you describe the [mood|emotional tone|overall mood|atmosphere|energy] of {audio}?
            How does {audio} make you feel?
            Is [it|this|{audio}] [happy or sad|sad or happy|happy|sad|cheerful|melancholic|relaxing|scary|romantic \
                in mood|calming|joyful]?
            Mood?
            And the [mood|emotion|atmosphere]?
            What is the mood or atmosphere of {audio}?
            Name the [mood|emotion][ of {audio}|].
            Tell me the [mood|emotion|atmosphere][ of {audio}|].
            Describe the [mood|emotion|atmosphere|feeling][ of {audio}|].
            Is {audio} [suitable for relaxation or meditation|suitable for background listening|easy to listen \
                to|suitable for a movie]?
            What do you feel when you hear {audio}?
            Do we hear [happy|sad|joyful] music?
            Could you find out the mood?
            Any idea of the mood?
            Let me know the mood.
            Is the mood [happy|sad|dark|cheerful|calm]?
            What emotions does one feel?
            Does it sound [happy|sad|cheerful|dark|angry|calm|joyful]?
            Is it [happy|sad|joyful|cheerful] or [sad|calm|melancholic]?
        """),
        _lines("""
            Which feelings do you hear in {audio}?
            Would you call the atmosphere happy?
            How sad or cheerful does this feel?
            Does it evoke joyful or sad emotions?
        """),
    ),
    "use": (
        "what it is for",
        _lines("""
            Who might enjoy [listening to |]{audio}?
            What is the [purpose|intended audience|target audience|function] of {audio}?
            Who or what is the [intended|target] audience for {audio}?
            Is {audio} [a soundtrack for a film|suitable for a party|suitable for children|a hit|popular]?
            What type of [movie|film] would {audio} be suitable for?
            Who listens to [it|this|{audio}]?
            Where could {audio} be used?
            Can I dance to it?
            Is it [good|any good|beautiful|boring|well played]?
            Do you like [it|this|{audio}]?
            What should I do while listening to {audio}?
            Is it [party music|music for children|for dancing|for sleeping|for a wedding]?
            Would children like [it|this|{audio}]?
            For what occasion would you play {audio}?
            Is {audio} meant for [dancing|a film|working|a wedding|a party|children]?
            Could you find out what it is for?
            For whom was it made?
            Let me know what to use it for.
            Would you play this at a party?
            In what kind of film would we hear this?
            Could it be used in a [film|game|shop|church]?
        """),
        _lines("""
            What kind of people would enjoy this?
            In which film could it be used?
            Is {audio} made for a party or for children?
        """),
    ),
    "mix": (
        "how it was recorded",
        _lines("""
            What is the [mix|sound quality|recording quality|production|audio quality] [of {audio}|like]?
            How [good|clear|clean] is the [recording|mix|sound quality|quality]?
            Is it [stereo or mono|live or studio|recorded live|a live recording|well mixed|well recorded|noisy]?
            [Was|Is] {audio} recorded [in a studio or live|live]?
            How much [reverb|echo|compression|noise] is there?
            What [microphone|software|equipment|effect|synthesizer|type of synthesizer] [was|is] used[ in {audio}|]?
            Is there [distortion|reverb|an echo|any noise|an effect] on the sound?
            What is the sampling rate?
            Is it lossless?
            Could you find out how it was recorded?
            Which microphones were used?
            Do we hear [reverb|noise|an echo]?
            Let me know how good the recording is.
            Is the sound [stereo|mono|noisy|clean|distorted]?
            How was {audio} [recorded|mixed|produced]?
        """),
        _lines("""
            Do you know which microphone they used?
            Is the mix of {audio} in stereo?
            Was this a noisy live recording?
        """),
    ),
    "chords": (
        "the chords",
        _lines("""
            What [chords|chord|harmony|harmonies] [are used|do you hear|can you hear|are played|is played|are \
                there][ in {audio}|]?
            What is the [chord progression|first chord|last chord|harmony|cadence] [of|in] {audio}?
            Name the [chords|chord progression|notes][ in {audio}|].
            [Chords|Chord progression|Harmony]?
            Which [notes|chords|intervals] [are played|do they play|are used]?
            What is the first note?
            What note [is this|does it start on|does it end on]?
            Write [down |]the [chords|notes|score].
            Is there a [modulation|cadence|dominant chord|seventh chord]?
            Tell me the [chords|notes][ of {audio}|].
            Could you find out the chords?
            Any idea which chords these are?
            Do we hear a [seventh chord|major chord|minor chord]?
            Let me know the chords.
            With which note does the tune begin?
            How does the harmony go?
        """),
        _lines("""
            Which chord do you hear first?
            Could you write the notes that are played?
            Do you know the harmony of {audio}?
        """),
    ),
    "length": (
        "how long it is",
        _lines("""
            What is the [length|duration] of {audio}?
            How long is [it|this|{audio}]?
            How long does {audio} last?
            How many [seconds|minutes|bars] [is it|does it have|long is it|does {audio} last]?
            [Length|Duration]?
            Tell me the [length|duration][ of {audio}|].
            When does {audio} end?
            At what time does the [melody|lead|drum part] [start|begin|enter]?
            Could you find out how long it is?
            Any idea how long this is?
            Let me know the [length|duration].
            How many seconds do we hear?
            For how long do they play?
            Is it longer than a minute?
        """),
        _lines("""
            For how many minutes does this last?
            Do you know the duration of the song?
            Say how long it will last.
        """),
    ),
}
# Subjects whose question carries the thing asked for: an instrument or a genre that the model never learned.
UNKNOWN_INSTRUMENTS = _items("""
    sitar / banjo / ukulele / mandolin / oboe / bassoon / tuba / French horn / synthesizer / harmonica / bagpipe /
    lute / viola / xylophone / glockenspiel / tabla / didgeridoo / theremin / koto / zither / gong /
    recorder / celesta / piccolo / turntable / siren / whistle / vibraphone / dulcimer / panpipe / kazoo
""")
UNKNOWN_GENRES = _items("""
    jazz / rock / pop / techno / electronic / hip hop / metal / blues / country / reggae / house / trance / ambient /
    dance / punk / funk / soul / disco / ska / new age / experimental / chillout / lounge / indie / gospel /
    flamenco / opera / film music / world music / psychedelic / downtempo / easy listening / swing / romantic / ragtime
""")
UNKNOWN_GENRE_WORDINGS = (
    _lines("""
        Is [it|this|{audio}] {value}?
        Is [it|this|{audio}] {value} music?
        Does [it|{audio}] sound like {value}?
        Would you call [it|this|{audio}] {value}?
        What is the {value} [element|aspect] in {audio}?
        Do you hear {value}?
        Is the genre {value}?
        Is {audio} {value} in nature?
        Is {audio} {value} in any way?
        Do we hear {value} music?
        Are we listening to {value}?
        Is it true that this is {value}?
        Let me know if it is {value}.
        Does it belong to {value}?
        Is it a kind of {value}?
        {value}?
    """),
    _lines("""
        Could this be called {value}?
        Would you say that the style is rather {value}?
        Is there any {value} in this?
    """),
)
# Questions that are not about the sound of a clip at all.
OFF_TOPIC_TRAINING = _lines("""
    What is the weather [like |][today|tomorrow|in Paris|outside]?
    Will it rain [today|tomorrow]?
    How much does [it|this|a piano|a ticket|the album] cost?
    What is the price of [a violin|gold|this song|a guitar|the ticket|milk]?
    Where can I [buy|download|listen to|find] [it|this|{audio}]?
    What is the capital of [France|Italy|Japan|Spain|Norway]?
    What time is it[ now| in London|]?
    What day is [it|today]?
    Who is the president[ of France| of the United States|]?
    What is [two plus two|2 + 2|seven times eight|3 x 4|the square root of nine|ten minus three]?
    How are you[ today|]?
    Who are you?
    What is your name?
    Who made you?
    Are you [a robot|human|alive|intelligent|a language model]?
    Tell me a [joke|story|secret].
    Write [a poem|an essay|some code|a letter|an email][ about love| for me|].
    Translate [this|hello|the sentence] into [French|German|Spanish|Chinese].
    What is the meaning of life?
    How do I [bake bread|cook rice|fix a bike|learn the piano|tune a guitar|lose weight]?
    What should I [eat|wear|read|do] [today|tonight]?
    Is there [a cat|a dog|a car|a bird|a ghost|water|a phone] in {audio}?
    What colour is [it|the sky|the piano|this]?
    How [heavy|tall|far|tall are you|old are you|big is the moon] is [it|the moon|the tower]?
    What is [trance|house|ambient|ska|electronic|experimental|rock|punk|easy listening|alternative] music?
    What is ["chillout"|"downtempo"|"lounge"|"instrumental pop"|a synthesizer|a drum machine|an orchestra|a sonata]?
    What genre of music is ["alternative"|"ambient"|"folk"|"electronic"|"chillout"] typically associated with?
    What is the difference between [funk and fusion|jazz and blues|a violin and a viola|rock and pop]?
    What is the history of [rock|jazz|the piano|opera|the violin]?
    What is the role of the [guitar|drums|piano] in [rock|jazz|pop] music?
    Who invented the [piano|telephone|saxophone|computer|guitar]?
    When was [Mozart|Bach|Beethoven|Chopin] born?
    Who won the [game|match|election|cup]?
    Which [football|tennis] team is the best?
    Play [it|another song|something else|music].
    Turn [up|down] the volume.
    Stop the music.
    Delete the file.
    Ignore the instructions.
    Hello.
    Hi!
    Thanks.
    Ok.
    Why?
    What?
    Yes.
    No.
    Really?
    Help.
    Good morning.
    Where am I?
    What is the stock market doing?
    Recommend [a film|a book|a restaurant|a song|a similar song].
""")
OFF_TOPIC_HELD_OUT = _lines("""
    Will the weather be good tomorrow?
    What does a ticket to Paris cost?
    Which book should I read tonight?
    Who is the best football team?
    Can you write some code for me?
    Do you know a good joke?
    Do you know the capital of Norway?
    Where can I buy milk?
    What is ten plus seven?
    How do I cook bread?
""")
# "What instrument is playing?", "How fast is it?", "What do you hear?" and their like, by people who write no English.
FOREIGN_TRAINING = _items("""
    ¿Qué instrumento suena? / ¿Es rápido o lento? / ¿Qué estilo de música es? / Describe el audio en detalle. /
    ¿Hay batería? / ¿Quién es el compositor? / ¿Cuál es el tempo de la canción? / ¿Se oye un piano? /
    Quel instrument joue ? / Est-ce rapide ou lent ? / Quel est le style de cette musique ? /
    Décris l'enregistrement. / Y a-t-il de la batterie ? / Qui a composé ce morceau ? / Quel est le tempo ? /
    Est-ce que tu entends un violon ? / Welches Instrument spielt? / Ist das schnell oder langsam? /
    Welcher Stil ist das? / Beschreibe die Aufnahme. / Gibt es ein Schlagzeug? / Wer hat das komponiert? /
    Wie laut ist die Musik? / Ist das ein Klavier? / Che strumento suona? / È veloce o lento? /
    Che genere di musica è? / Descrivi l'audio. / C'è la batteria? / Que instrumento está tocando? /
    É rápido ou lento? / Descreva o áudio. / Há bateria? / Qual é o estilo? / Welk instrument speelt er? /
    Is het snel of langzaam? / Vilket instrument spelar? / Jaki instrument gra? / Hangi enstrüman çalıyor? /
    Mikä soitin soi? / Milyen hangszer szól? / Jaký nástroj hraje? / Ce instrument cântă? /
    Какой инструмент играет? / Это быстро или медленно? / Какой это стиль музыки? / Опиши запись. /
    Есть ли барабаны? / Який інструмент грає? / Какой темп? / Кто композитор? / Это пианино? /
    Ποιο όργανο παίζει; / Είναι γρήγορο ή αργό; / Περιέγραψε τη μουσική. / 这是什么乐器？ / 速度快吗？ /
    请描述这段音频。 / 有鼓吗？ / 这是什么风格的音乐？ / 这首歌叫什么名字？ / 有人唱歌吗？ / 何の楽器ですか？ /
    テンポは速いですか？ / この音楽を説明してください。 / ドラムはありますか？ / ジャンルは何ですか？ /
    어떤 악기가 연주되나요? / 빠른가요, 느린가요? / 음악을 설명해 주세요. / 드럼이 있나요? /
    ما هي الآلة الموسيقية؟ / هل هي سريعة أم بطيئة؟ / صف المقطع الصوتي. / هل توجد طبول؟ / איזה כלי נגינה מנגן? /
    האם זה מהיר או איטי? / यह कौन सा वाद्य यंत्र है? / क्या यह तेज़ है या धीमा? / संगीत का वर्णन करें। /
    นี่คือเครื่องดนตรีอะไร? / เร็วหรือช้า? / Nhạc cụ nào đang chơi? / Alat musik apa ini? /
    Chombo gani kinacheza?
""")
FOREIGN_HELD_OUT = _items("""
    ¿Qué instrumentos se oyen en la pieza? / Quels instruments entends-tu ? / Wie schnell ist das Stück? /
    Quanti musicisti suonano? / Какие инструменты ты слышишь? / 你听到了什么乐器？ / 速度はどのくらいですか？ /
    어떤 스타일의 음악인가요? / هل هذا بيانو؟ / क्या इसमें ढोल है?
""")

HELD_OUT = {
    "instrument": _lines("""
        What do we hear playing the melody?
        The main melody of {audio} is performed by what?
        Could you say what instrument leads this?
        Which instrument would you say I am listening to?
        What is the name of the instrument that plays the tune?
        Someone plays something in {audio}: what instrument is it?
        I hear an instrument, but which one is it?
        Which instrument dominates the sound of {audio}?
        What instrument did the musician use to play this?
        Guess what the soloist plays.
        Write which instrument is heard.
    """),
    "instruments": _lines("""
        Which instruments sound together?
        Do you know all the instruments that were used?
        Say which instruments play in {audio}.
        Could you tell me all of the instruments you hear?
        What do the players use to make the music, which instruments?
        A list of all instruments in {audio}, please.
        Write down every instrument that is heard.
        {audio} is played by which instruments?
        I would like a full list of instruments.
    """),
    "second_instrument": _lines("""
        What do you hear behind the soloist?
        Someone accompanies the lead: with which instrument?
        Could you name what plays the accompaniment?
        What is the accompaniment made of, which instrument?
        Say what is playing in the background.
        Which is the second instrument that you hear?
        What other instrument supports the tune?
        Next to the melody, what else sounds?
        Do you know which instrument backs the main one?
    """),
    "family": _lines("""
        What family of instruments would you say this is?
        Do you know to which family this instrument belongs?
        Which of the families of instruments do you hear in {audio}?
        Write the family of the instrument that leads.
        Could you classify the instrument: strings, brass, keyboard or what?
        Of which instrument family is the melody?
        Say what group the lead instrument is a member of.
        Is this instrument from the brass, the strings or which other family?
        Guess the family that the main instrument falls into.
    """),
    "tempo": _lines("""
        Would you call the pace slow or fast?
        Do the musicians play quickly or slowly?
        Could you say how fast the music goes?
        What would you call the speed that you hear in {audio}?
        Say how quick this tune is.
        Which is right for {audio}: slow, moderate or fast?
        Is the speed of the melody fast or slow?
        I would like to know at what pace this moves.
        Judging by the sound, what is the tempo?
        Quick music, or rather slow?
    """),
    "bpm": _lines("""
        Could you say roughly what BPM this is?
        Do you know the number of beats in one minute?
        What beats per minute would you write for {audio}?
        Say the BPM that you hear.
        If you count the beats, how many come in a minute?
        To which BPM should I set the metronome?
        Write the tempo of {audio} in beats per minute.
        How many beats would you count per minute in this?
    """),
    "texture": _lines("""
        Do several people play or is it a soloist?
        Could you say how many musicians perform this?
        Is one person playing alone, or is it a band?
        What would you call the group: solo, duo, ensemble or band?
        Say how many instruments sound together.
        Do you hear just one musician or a pair?
        Is it a group that plays or only one performer?
        Write the number of people who are playing.
        In {audio}, is the player on their own or in a band?
    """),
    "drums": _lines("""
        Could there be drums in this?
        Do the players have a drum kit here or not?
        Is somebody hitting drums in {audio}?
        Would you hear a drummer if you listen to {audio}?
        Can drums be heard behind the melody?
        Did they record any drums for {audio}?
        Check whether a drum kit is playing.
        Is a drum part of the line-up?
        I wonder if a drummer plays on this track.
    """),
    "register": _lines("""
        Would you call the pitch of the melody high or low?
        Is the tune played with low notes or high notes?
        Could you say in what register the instrument plays?
        Say how high the notes of {audio} are.
        Which is right for the lead: low, middle or high register?
        Do the notes lie low, in the middle, or high?
        Does the main instrument use its low or its high range?
        Write the register that you hear.
        Is the pitch of {audio} deep or high on average?
    """),
    "loudness": _lines("""
        Would you say the musicians play softly or loudly?
        Could you say how loud the sound is?
        Which is right for {audio}: soft or loud?
        Is the performance quiet, or is it loud?
        Say what the volume of the music is like.
        Do you hear loud playing or soft playing?
        Write how loud or quiet the clip is.
        Is this gentle and soft, or strong and loud?
        Do you know at what dynamic level they perform?
    """),
    "style": _lines("""
        Could you say what kind of music we are listening to?
        Which genre would you put this in?
        What would you call the style of this tune?
        Do you know the musical period that this comes from?
        Say what style the piece is written in.
        Write the genre that {audio} belongs to.
        To what era of music would you say this belongs?
        Is this folk, classical, baroque or medieval?
        What is the kind of music that you hear?
    """),
    "choice": _lines("""
        Would you call it {this} or {that}?
        Which do we have in {audio}, {this} or {that}?
        Could you decide whether {this} or {that} is heard?
        Someone plays {this} or {that}: which is it?
        Is what I hear now {this} or rather {that}?
        Between {this} and {that}, which is it?
        Do the musicians use {this} here, or {that}?
        Is the tune from {this} or from {that}?
    """),
    "describe short": _lines("""
        Could you sum up the music in a few words?
        Write one sentence about {audio}.
        What would be a good caption for this clip?
        Say in short what {audio} is like.
        I would like a short description.
    """),
    "describe detail": _lines("""
        Could you write a long description with all the details?
        Say everything that you know about this recording.
        I would like a full and detailed description.
        Explain all aspects of {audio} at length.
    """),
    "describe hear": _lines("""
        Which sounds are in the clip that you hear?
        Could you say what is heard in {audio}?
        What is going on in the music?
        What do we hear here?
    """),
    "describe inferred": _lines("""
        What conclusions do you draw from {audio}?
        Could you infer anything from the music?
        What would we learn from this recording?
        What do you deduce when you listen to this?
    """),
}

YES_NO_HELD_OUT = {
    "instrument": _lines("""
        Do we have {an_x} in {audio}?
        Am I hearing {an_x}?
        Can {an_x} be heard here?
        Would I be right to say that this is {an_x}?
        Could this be {an_x}?
        Check whether {an_x} is playing.
        Is {an_x} one of the instruments?
        I wonder if there is {an_x} in this track.
    """),
    "bass": _lines("""
        Can a bass be heard behind the melody?
        Do we have a bass in {audio}?
        Check whether a bass is playing.
        Could there be a bass in this?
    """),
    "family": _lines("""
        Can {value} be heard here?
        Check whether {value} are playing.
        Could there be {value} in this?
        Am I hearing a {member}?
        I wonder if {value} play on this track.
    """),
    "voices": _lines("""
        Can a voice be heard here?
        Check whether people sing in this clip.
        Could there be any singing in this?
        I wonder if someone sings on this track.
    """),
    "tempo": _lines("""
        Could you call the speed of this {value}?
        Do you think that the speed is {value}?
        Am I right that {audio} goes at a {value} pace?
        Check whether the tempo is {value}.
        I wonder if this is {value}.
    """),
    "texture": _lines("""
        Am I hearing {a_value}?
        Could this be {a_value}?
        Do we have {a_value} here?
        Check whether {a_value} is what we hear.
        Would I be right to say that this is {a_value}?
    """),
    "register": _lines("""
        Would you say that the lead plays in the {value} register?
        Check whether the pitch of the tune is {value}.
        Am I right that the register is {value} here?
        Could you call these notes {value}?
    """),
    "loudness": _lines("""
        Am I right that {audio} is {value}?
        Check whether the playing is {value}.
        Could you call this sound {value}?
        Do you think that they play {value}?
    """),
    "style": _lines("""
        Could this be {value} music?
        Check whether the style is {value}.
        Am I right that {audio} is in {value} style?
        Do you think that this tune is {value}?
        I wonder if this is {value} music.
    """),
}
