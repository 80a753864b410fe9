"""The pools that probes draw from: words and facts that are plain, correct and do not age.

The one idea: an item is here only if its answer is beyond dispute. So there is no capital that is
contested or about to move, no noun whose plural is disputed, no word in two of the KINDS. Pools are
written as space- or line-separated text, because that is how a person proofreads them. Nothing
here knows of probes.
"""

from __future__ import annotations

from collections.abc import Mapping


def split_words(text: str) -> list[str]:
    return text.split()


def pairs(text: str) -> dict[str, list[str]]:
    """ "a=b|c; d=e" as {"a": ["b", "c"], "d": ["e"]}."""
    split = (pair.split("=") for pair in " ".join(text.split()).split("; "))
    return {key.strip(): [value.strip() for value in values.split("|")] for key, values in split}


NAMES = split_words(
    "Ana Ben Carla David Elena Farid Grace Hugo Ines Jonas Karin Liam Maria Nadia Omar Paula "
    "Quentin Rosa Samir Tessa Ursula Victor Wanda Yusuf Zoe Amara Boris Celia Dmitri Edith Fiona "
    "Gustav Helen Igor Judith Kofi Lena Marco Nina Oscar"
)
CITIES = split_words(
    "Oslo Lima Cairo Quito Dublin Hanoi Vienna Nairobi Lisbon Toronto Seville Geneva Kyoto Mumbai "
    "Accra Boston Perth Milan Prague Krakow"
)
MONTHS = split_words(
    "January February March April May June July August September October November December"
)
DAYS = split_words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
ADJECTIVES = split_words(
    "red quiet small heavy bright wooden cold gentle narrow golden empty round soft rusty tall "
    "clever dusty green silent warm broken purple hollow steep tiny yellow old smooth grey brave"
)
NOUNS = split_words(
    "lamp river garden kettle bridge window blanket mountain bottle candle basket ladder pillow "
    "engine harbour lantern mirror button tunnel carpet bucket village forest teacher farmer "
    "castle island market thunder ribbon pocket desert kitchen letter anchor feather hammer wheel "
    "orchard meadow"
)
GOODS = split_words(
    "lamp kettle blanket bottle candle basket ladder pillow lantern mirror button carpet bucket hammer "
    "pencil hat chair umbrella spoon towel plate bicycle guitar suitcase"
)
"""Things that people own and sell; the plural is the word with an s."""
VERBS_ING = split_words(
    "sleeping waiting falling shining turning growing moving burning resting floating rising fading"
)
THINGS = {
    "lighthouse": "lighthouses", "library": "libraries", "bicycle": "bicycles", "kitten": "kittens",
    "volcano": "volcanoes", "bakery": "bakeries", "desert": "deserts", "clock": "clocks",
    "umbrella": "umbrellas", "forest": "forests", "dentist": "dentists", "bridge": "bridges",
    "rainbow": "rainbows", "farmer": "farmers", "pencil": "pencils", "island": "islands",
    "hammer": "hammers", "winter": "winters", "honeybee": "honeybees", "teacher": "teachers",
    "mountain": "mountains", "garden": "gardens", "pillow": "pillows", "river": "rivers",
    "castle": "castles", "market": "markets", "candle": "candles", "violin": "violins",
    "blanket": "blankets", "school": "schools", "storm": "storms", "spider": "spiders",
}  # fmt: skip
"""Things to write about, with their plurals."""

STARTERS = {
    "Yesterday": "we talked about {a}.", "Tomorrow": "I will write about {a}.",
    "Sometimes": "I dream of {a}.", "Every": "child here has heard of {a}.",
    "My": "friend once told me about {a}.", "Although": "it rained, we thought of {a}.",
    "Because": "of {a}, we came home late.", "When": "I was six, I longed for {a}.",
    "After": "lunch we read about {a}.", "Before": "bed she thinks of {a}.",
    "Once": "there was a story about {a}.", "If": "you think of {a}, what do you see?",
    "Today": "our lesson was about {a}.", "Suddenly": "everyone spoke of {a}.",
    "Usually": "nobody worries about {a}.", "Perhaps": "we should write about {a}.",
    "While": "eating, he told us about {a}.", "Nobody": "here has ever disliked {a}.",
    "Everyone": "in our street knows {a}.", "Outside": "we talked about {a}.",
    "Under": "the bed lay a book about {a}.", "Behind": "us, people spoke of {a}.",
    "Two": "girls were talking about {a}.", "Our": "teacher wrote about {a}.",
    "Since": "then I have often thought of {a}.", "Until": "now I never cared for {a}.",
    "Rarely": "do we hear about {a}.", "Often": "she tells us about {a}.",
}  # fmt: skip
"""Words to begin with, each with the rest of a sentence about a thing."""

AVOIDABLE = split_words("the and is very it of with good to in")
"""Common words that can be avoided with care."""

OPPOSITES = pairs(
    """hot=cold|cool|icy|chilly|freezing; big=small|little|tiny|miniature; tall=short;
    fast=slow|sluggish; up=down; happy=sad|unhappy|miserable|sorrowful; early=late; full=empty;
    heavy=light|lightweight; open=closed|shut|close; wet=dry; loud=quiet|silent|soft|hushed;
    hard=soft|easy; rich=poor|impoverished; strong=weak|feeble; clean=dirty|filthy|unclean;
    thick=thin; wide=narrow; deep=shallow; day=night; young=old; new=old; old=young|new;
    first=last; inside=outside; always=never|seldom|rarely; love=hate|hatred; win=lose; buy=sell;
    push=pull; begin=end|finish|stop|conclude|cease; true=false|untrue;
    brave=cowardly|timid|fearful|scared|afraid|coward; cheap=expensive|costly|dear|pricey;
    safe=dangerous|unsafe|risky|hazardous; near=far|distant; left=right; high=low;
    rough=smooth|gentle|even; sharp=dull|blunt; bright=dark|dim|dull|gloomy; asleep=awake;
    alive=dead; beautiful=ugly|hideous|unattractive|plain; sweet=sour|bitter|salty; tight=loose;
    arrive=depart|leave; accept=reject|refuse|decline; polite=rude|impolite|discourteous;
    difficult=easy|simple|effortless; ancient=modern|new; cold=hot|warm; small=big|large;
    short=tall|long; slow=fast|quick|rapid|swift; down=up; sad=happy|joyful|cheerful|glad;
    late=early; empty=full; dry=wet; quiet=loud|noisy; poor=rich|wealthy|affluent;
    weak=strong|powerful; dirty=clean; thin=thick|fat; narrow=wide|broad; shallow=deep; night=day;
    last=first; outside=inside; never=always; hate=love; lose=win|find; sell=buy; pull=push;
    false=true|real|correct; far=near|close; low=high; smooth=rough|bumpy|coarse;
    dark=light|bright|lit; awake=asleep|sleeping; dead=alive|living;
    ugly=beautiful|pretty|attractive|handsome; loose=tight|fixed; guilty=innocent; victory=defeat;
    success=failure; friend=enemy|foe|rival; above=below; more=less|fewer;
    increase=decrease|reduce|lower|reduction; expand=contract|shrink; north=south; east=west;
    generous=stingy|selfish|greedy|mean|miserly;
    lazy=hardworking|hard-working|diligent|industrious|energetic|active|busy;
    wild=tame|domesticated|domestic|calm; war=peace; entrance=exit; teach=learn;
    hide=show|reveal|seek|expose|uncover"""
)

CAPITALS = {
    country: city[0]
    for country, city in pairs(
        """France=Paris; Germany=Berlin; Italy=Rome; Spain=Madrid; Portugal=Lisbon; Poland=Warsaw;
        Austria=Vienna; Hungary=Budapest; Greece=Athens; Norway=Oslo; Sweden=Stockholm;
        Finland=Helsinki; Denmark=Copenhagen; Iceland=Reykjavik; Ireland=Dublin;
        Belgium=Brussels; Japan=Tokyo; China=Beijing; India=New Delhi; Thailand=Bangkok;
        Vietnam=Hanoi; Nepal=Kathmandu; Mongolia=Ulaanbaatar; Pakistan=Islamabad; Iran=Tehran;
        Iraq=Baghdad; Turkey=Ankara; Jordan=Amman; Lebanon=Beirut; Kenya=Nairobi;
        Ethiopia=Addis Ababa; Ghana=Accra; Senegal=Dakar; Morocco=Rabat; Tunisia=Tunis;
        Algeria=Algiers; Libya=Tripoli; Sudan=Khartoum; Uganda=Kampala; Rwanda=Kigali;
        Zambia=Lusaka; Zimbabwe=Harare; Angola=Luanda; Namibia=Windhoek; Botswana=Gaborone;
        Mozambique=Maputo; Mali=Bamako; Canada=Ottawa; Cuba=Havana; Jamaica=Kingston;
        Brazil=Brasilia; Argentina=Buenos Aires; Chile=Santiago; Peru=Lima;
        Ecuador=Quito; Colombia=Bogota; Venezuela=Caracas; Uruguay=Montevideo;
        Australia=Canberra; New Zealand=Wellington; Fiji=Suva; Russia=Moscow; Ukraine=Kyiv;
        Belarus=Minsk; Lithuania=Vilnius; Latvia=Riga; Estonia=Tallinn; Romania=Bucharest;
        Bulgaria=Sofia; Serbia=Belgrade; Croatia=Zagreb; Slovenia=Ljubljana;
        Slovakia=Bratislava; Albania=Tirana; Georgia=Tbilisi; Armenia=Yerevan; Azerbaijan=Baku;
        Bangladesh=Dhaka; Cambodia=Phnom Penh; Laos=Vientiane; South Korea=Seoul;
        Syria=Damascus; the Philippines=Manila; the United Kingdom=London; Cyprus=Nicosia;
        Switzerland=Bern; Madagascar=Antananarivo; Nigeria=Abuja; Somalia=Mogadishu; Qatar=Doha"""
    ).items()
}
CAPITAL_SPELLINGS = {
    "Kyiv": ["Kiev"],
    "Bern": ["Berne"],
    "Ulaanbaatar": ["Ulan Bator"],
    "Beijing": ["Peking"],
}
"""Other right spellings of a capital; accents do not count."""

KINDS: Mapping[str, list[str]] = {
    "fruit": split_words(
        "apple banana cherry grape lemon mango orange peach pear plum strawberry raspberry "
        "blueberry pineapple nectarine apricot melon watermelon fig papaya"
    ),
    "bird": split_words(
        "eagle sparrow robin owl penguin parrot crow pigeon swan falcon hawk flamingo ostrich "
        "seagull raven peacock woodpecker pelican finch vulture"
    ),
    "fish": split_words(
        "salmon trout tuna shark cod herring sardine mackerel carp haddock halibut eel"
    ),
    "insect": split_words(
        "ant bee wasp beetle butterfly mosquito grasshopper moth cockroach dragonfly termite "
        "ladybug"
    ),
    "tool": split_words(
        "hammer saw screwdriver wrench drill chisel pliers shovel rake axe spanner hoe"
    ),
    "vehicle": split_words(
        "car bus truck bicycle train tractor motorcycle van tram scooter taxi lorry"
    ),
    "tree": split_words(
        "oak pine birch willow elm cedar spruce beech sycamore poplar alder hawthorn"
    ),
    "vegetable": split_words(
        "carrot potato cabbage onion broccoli spinach lettuce cauliflower turnip celery leek "
        "parsnip"
    ),
    "metal": split_words(
        "iron copper gold silver zinc nickel aluminium titanium tin lead platinum cobalt"
    ),
    "sport": split_words(
        "tennis football hockey basketball volleyball rugby golf badminton baseball handball"
    ),
}
"""Kinds of things that share no member; each member belongs to one kind beyond doubt."""

_MAMMALS = split_words(
    "dog cat horse cow pig sheep goat lion tiger bear wolf fox rabbit mouse rat elephant giraffe "
    "zebra monkey gorilla chimpanzee kangaroo koala panda camel deer moose squirrel hedgehog "
    "badger otter beaver bat whale dolphin seal walrus leopard cheetah jaguar hippopotamus hippo "
    "rhinoceros rhino donkey llama alpaca buffalo bison hamster raccoon skunk sloth mole hyena "
    "antelope gazelle"
)
_REPTILES = split_words(
    "snake lizard turtle tortoise crocodile alligator frog toad newt salamander iguana gecko"
)
_MORE_ANIMALS = split_words(
    "octopus squid crab lobster spider snail jellyfish starfish duck chicken goose turkey hen rooster "
    "hummingbird magpie goldfish panther lynx armadillo platypus anteater baboon boar chipmunk "
    "cougar coyote dingo dormouse elk emu ferret gerbil gibbon hare heron ibis impala jackal kitten "
    "kid lemur lemming marmot mink mongoose mule ocelot orangutan oyster pony puma puppy quail "
    "porcupine reindeer scorpion shrew stork tapir toucan urchin vole wallaby warthog weasel wombat "
    "worm yak ape calf crane dove"
)
_COUNTRIES = [name.removeprefix("the ") for name in CAPITALS] + [
    "United States", "USA", "Mexico", "Egypt", "South Africa", "Indonesia", "Malaysia", "Singapore",
    "Netherlands", "Israel", "Saudi Arabia", "Kazakhstan", "Tanzania", "Bolivia", "Paraguay",
    "Panama", "Costa Rica", "Guatemala", "Honduras", "Nicaragua", "UK", "England", "Scotland",
    "North Korea", "Sri Lanka", "Cameroon", "Luxembourg", "Malta", "Monaco", "Myanmar", "Yemen",
    "Oman", "Kuwait", "Bahrain", "Afghanistan", "Moldova", "Haiti", "Bhutan", "Benin", "Chad",
    "Niger", "Gabon", "Congo", "Czech Republic", "Czechia", "Bosnia", "Montenegro", "Malawi",
    "Togo", "Gambia", "Guinea", "Liberia", "Sierra Leone", "Ivory Coast", "Burkina Faso", "Burundi",
    "Eritrea", "Djibouti", "Eswatini", "Lesotho", "Mauritania", "Mauritius", "Seychelles", "Belize",
    "El Salvador", "Guyana", "Suriname", "Barbados", "Bahamas", "Trinidad and Tobago", "Grenada",
    "Dominica", "Dominican Republic", "Brunei", "Timor-Leste", "Maldives", "Uzbekistan",
    "Kyrgyzstan", "Tajikistan", "Turkmenistan", "United Arab Emirates", "Andorra", "Liechtenstein",
    "San Marino", "Vatican City", "North Macedonia", "Papua New Guinea", "Samoa", "Tonga",
    "Vanuatu", "Kiribati", "Tuvalu", "Nauru", "Palau", "Holland", "Wales", "America",
    "Great Britain", "Comoros", "Cape Verde",
]  # fmt: skip
COLOURS = split_words(
    "red blue green yellow orange purple pink brown black white grey gray violet indigo turquoise "
    "teal cyan magenta maroon beige gold silver navy lavender crimson scarlet olive tan ivory lime "
    "coral peach burgundy amber aqua"
)
LISTABLE: Mapping[str, list[str]] = {
    "fruits": KINDS["fruit"] + split_words(
        "grapefruit lime coconut cranberry blackberry pomegranate guava lychee kiwi date tangerine "
        "avocado tomato cantaloupe currant passionfruit"
    ),
    "animals": [
        *_MAMMALS, *_REPTILES, *_MORE_ANIMALS, *KINDS["bird"], *KINDS["fish"], *KINDS["insect"]
    ],
    "colours": COLOURS,
    "countries": _COUNTRIES,
    "vegetables": KINDS["vegetable"] + split_words(
        "pea bean cucumber pepper tomato eggplant zucchini kale radish beet beetroot garlic "
        "pumpkin squash corn asparagus sweetcorn artichoke yam courgette aubergine mushroom"
    ) + ["sweet potato", "bell pepper", "green bean", "brussels sprout", "tomatoes", "potatoes"],
    "days of the week": DAYS,
    "months of the year": MONTHS,
    "planets of the solar system": split_words(
        "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune"
    ),
    "birds": KINDS["bird"] + split_words(
        "duck goose turkey hen chicken rooster hummingbird canary blackbird magpie stork heron "
        "crane dove kingfisher albatross puffin cardinal swallow jay bluebird thrush starling "
        "nightingale"
    ) + ["bald eagle", "blue jay", "barn owl"],
    "body parts": split_words(
        "head arm leg hand foot nose eye ear mouth knee elbow shoulder neck finger toe back chest "
        "stomach hip ankle wrist chin cheek face hair heart lung liver brain thumb tongue skin "
        "feet"
    ),
}  # fmt: skip
"""What lists may be asked of, with every item that a plain answer would hold."""

LETTERED: Mapping[str, list[str]] = {
    "an animal": LISTABLE["animals"],
    "a country": _COUNTRIES,
    "a fruit": LISTABLE["fruits"],
    "a bird": LISTABLE["birds"],
    "a colour": COLOURS,
    "a vegetable": LISTABLE["vegetables"],
    "a month of the year": MONTHS,
    "a part of the body": LISTABLE["body parts"],
}

PLURALS = pairs(
    """child=children; mouse=mice; foot=feet; tooth=teeth; man=men; woman=women; goose=geese;
    leaf=leaves; knife=knives; wolf=wolves; loaf=loaves; wife=wives; life=lives; half=halves;
    shelf=shelves; thief=thieves; calf=calves; box=boxes; bus=buses; dish=dishes;
    church=churches; watch=watches; baby=babies; city=cities; lady=ladies; story=stories;
    party=parties; berry=berries; fly=flies; puppy=puppies; country=countries; family=families;
    potato=potatoes; tomato=tomatoes; hero=heroes; echo=echoes; piano=pianos; key=keys;
    monkey=monkeys; boy=boys; toy=toys; cat=cats; dog=dogs; table=tables; apple=apples;
    tree=trees; house=houses; car=cars; bird=birds; flower=flowers; glass=glasses;
    brush=brushes; fox=foxes; bench=benches; peach=peaches; kiss=kisses; class=classes; ox=oxen;
    crisis=crises; analysis=analyses; oasis=oases; valley=valleys; day=days; army=armies"""
)
PASTS = pairs(
    """go=went; eat=ate; see=saw; run=ran; write=wrote; take=took; give=gave; come=came;
    drink=drank; sing=sang; swim=swam; begin=began; break=broke; speak=spoke; choose=chose;
    drive=drove; ride=rode; rise=rose; fly=flew; grow=grew; know=knew; throw=threw; blow=blew;
    draw=drew; buy=bought; bring=brought; think=thought; teach=taught; catch=caught;
    fight=fought; sleep=slept; keep=kept; feel=felt; leave=left; meet=met; sell=sold; tell=told;
    find=found; stand=stood; win=won; lose=lost; build=built; send=sent; spend=spent; make=made;
    hear=heard; say=said; pay=paid; hold=held; sit=sat; walk=walked; play=played; jump=jumped;
    carry=carried; try=tried; stop=stopped; study=studied; plan=planned; dance=danced;
    open=opened; forget=forgot; hide=hid; fall=fell"""
)

GAPS = pairs(
    """The sun rises in the ___.=east|morning|sky; A week has ___ days.=seven|7;
    Ice is frozen ___.=water; Bees make ___.=honey;
    A triangle has three ___.=sides|corners|angles|edges|vertices|points;
    The opposite of left is ___.=right;
    Fish live in ___.=water|rivers|seas|oceans|the sea|sea|ocean|the ocean|lakes|aquariums|ponds;
    Cows give us ___.=milk; We see with our ___.=eyes; We hear with our ___.=ears;
    A year has twelve ___.=months; The day after Monday is ___.=Tuesday;
    A baby dog is called a ___.=puppy; A baby cat is called a ___.=kitten;
    Birds build ___ to lay their eggs in.=nests|a nest|nest;
    The colour of fresh grass is ___.=green; At night the sky is ___.=dark|black|starry;
    Snow is cold and ___.=white|wet|soft|fluffy|icy|powdery; Two plus two equals ___.=four|4;
    An hour has sixty ___.=minutes; A minute has sixty ___.=seconds;
    Spiders have ___ legs.=eight|8; Dogs have ___ legs.=four|4; Bread is baked in an ___.=oven;
    You can unlock a door with a ___.=key; We use an ___ to stay dry in the rain.=umbrella;
    The ___ shines during the day.=sun;
    A carpenter works with ___.=wood|tools|lumber|timber|hammers|saws;
    A person who teaches is called a ___.=teacher; A person who bakes bread is a ___.=baker;
    A doctor works in a ___.=hospital|clinic|surgery|practice;
    Books are kept in a ___.=library|bookcase|bookshelf|shelf|bookstore|bookshop|cupboard;
    The season after winter is ___.=spring; The season after summer is ___.=autumn|fall;
    Lemons taste ___.=sour|acidic|tart|bitter|tangy; Sugar tastes ___.=sweet;
    Fire is hot, but ice is ___.=cold|cool|freezing|frozen|chilly;
    A car has four ___.=wheels|tires|tyres|doors|seats|windows; You cut paper with ___.=scissors;
    A square has ___ sides.=four|4;
    Plants need sunlight and ___ to grow.=water|soil|air|nutrients|carbon dioxide;
    A caterpillar turns into a ___.=butterfly|moth;
    Humans breathe with their ___.=lungs|noses|nose; The first month of the year is ___.=January;
    The last month of the year is ___.=December; Ten minus three equals ___.=seven|7;
    There are twenty-four ___ in a day.=hours; A dozen means ___ items.=twelve|12;
    Hens lay ___.=eggs; Wool comes from ___.=sheep; A thermometer measures ___.=temperature|heat;
    Ships sail on the ___.=sea|ocean|water|seas|oceans|waves|river;
    The capital of France is ___.=Paris; You brush your ___ with a toothbrush.=teeth;
    The Earth goes round the ___.=sun; The heart pumps ___ through the body.=blood;
    A century lasts one hundred ___.=years; Rain falls from the ___.=sky|clouds|cloud|heavens;
    When water is heated enough, it starts to ___.=boil|evaporate|steam|bubble;
    A rectangle has four ___.=sides|corners|angles|edges|vertices"""
)

REVIEWED = split_words(
    "hotel phone book restaurant jacket blender chair concert laptop cafe course kettle backpack "
    "tent printer mattress bicycle cookbook"
)
PRAISE = [
    "I enjoyed it from the first day to the last.",
    "Everything about it was wonderful.",
    "I would happily pay for it again.",
    "It is the best one I have ever had.",
    "I am delighted and will tell all my friends.",
    "It was even better than I had hoped.",
    "What a lovely surprise!",
    "Every detail was excellent.",
    "I could not be happier with it.",
    "It made my whole week.",
]
COMPLAINTS = [
    "It let me down from the first day to the last.",
    "Everything about it was awful.",
    "I want my money back.",
    "It is the worst one I have ever had.",
    "I am angry and will warn all my friends.",
    "It was even worse than I had feared.",
    "What a horrible waste of money!",
    "Every detail was a disappointment.",
    "I could not be more disappointed with it.",
    "It ruined my whole week.",
]
